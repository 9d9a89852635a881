"""How predictions, outcomes and what became of them look in Flink: the types, and who knows positions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
from pyflink.common import Row
from pyflink.datastream.output_tag import OutputTag

from operators.key_groups import KeyGroups
from operators.rows import KEYED_BYTES, OUTPUTS
from schemas.errors import SettingsError
from schemas.features.feature_block import from_bytes, to_bytes
from schemas.lifecycle.quality import EvidenceBatch, OutcomeCounts, QualityRecord, write_message
from schemas.output_batch import encode_output_batch

DELIVERY = KEYED_BYTES
"""Key of a shard, and a `Delivery`."""
SETTLED = KEYED_BYTES
"""Data type, and what one shard has settled of it."""
EVIDENCE = OutputTag("evidence", OUTPUTS)
COUNTS = OutputTag("outcome-counts", OUTPUTS)


class _SettledPart(msgspec.Struct, array_like=True):
    shard: int
    settled_to: int
    rows: bytes


def shard_keys(groups: KeyGroups, shards: int) -> tuple[str, ...]:
    """A key for each shard, so that they fall evenly on any number of instances."""
    count = len(groups.keys)
    if shards > count:
        raise SettingsError(
            f"there are {shards} shards, and only {count} key groups (the maximum parallelism)"
        )
    return tuple(groups.keys[(2 * shard + 1) * count // (2 * shards)] for shard in range(shards))


def settled_row(data_type: str, shard: int, settled_to: int, rows: pa.RecordBatch | None) -> Row:
    part = _SettledPart(shard, settled_to, b"" if rows is None else to_bytes(rows))
    return Row(data_type, msgspec.msgpack.encode(part))


def settled_of(value: Any) -> tuple[int, int, pa.RecordBatch | None]:
    """Shard, the event time up to which its predictions are settled, and rows or None."""
    part = msgspec.msgpack.decode(bytes(value), type=_SettledPart)
    return part.shard, part.settled_to, from_bytes(part.rows) if part.rows else None


def messages(of: Iterable[QualityRecord | EvidenceBatch | OutcomeCounts]) -> Iterator[bytes]:
    """As one output batch, or none."""
    found: Sequence[Any] = list(of)
    if found:
        keys = [one.key.encode() for one in found]
        yield encode_output_batch([write_message(one) for one in found], [None], keys)


def by_data_type(of: Iterable[Any]) -> Mapping[str, list[Any]]:
    """What was settled, by the data type of its prediction."""
    found: dict[str, list[Any]] = {}
    for one in of:
        found.setdefault(one.predicted.data_type, []).append(one)
    return found
