"""How predictions, outcomes and what became of them look in Flink: the types, and who knows positions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
from pyflink.common import Row
from pyflink.datastream.output_tag import OutputTag

from operators.rows import KEYED_BYTES, OUTPUTS
from schemas.features.feature_batch import from_bytes, to_bytes
from schemas.lifecycle.quality import EvidenceBatch, OutcomeCounts, QualityRecord, write_message
from schemas.output_batch import encode_output_batch

DELIVERY = KEYED_BYTES
"""Key of an instance, and a `Delivery`."""
SETTLED = KEYED_BYTES
"""Data type, and what one instance has settled of it."""
EVIDENCE = OutputTag("evidence", OUTPUTS)
COUNTS = OutputTag("outcome-counts", OUTPUTS)


class _SettledPart(msgspec.Struct, array_like=True):
    first: int
    end: int
    settled_to: int
    rows: bytes


def settled_row(data_type: str, groups: range, settled_to: int, rows: pa.RecordBatch | None) -> Row:
    """Of the key groups of one instance."""
    part = _SettledPart(groups.start, groups.stop, settled_to, b"" if rows is None else to_bytes(rows))
    return Row(data_type, msgspec.msgpack.encode(part))


def settled_of(value: Any) -> tuple[range, int, pa.RecordBatch | None]:
    """Key groups, the event time up to which their predictions are settled, and rows or None."""
    part = _SETTLED_DECODER.decode(bytes(value))
    return range(part.first, part.end), part.settled_to, from_bytes(part.rows) if part.rows else None


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


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_SETTLED_DECODER = msgspec.msgpack.Decoder(_SettledPart)
