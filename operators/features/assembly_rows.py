"""How completions, expirations and created values look in Flink."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from pyflink.common import Row
from pyflink.datastream.output_tag import OutputTag

from operators.features.feature_rows import FEATURE_BATCH, HISTORY, feature_row
from operators.rows import OUTPUTS, to_rows
from schemas.output_batch import MESSAGE_LIMIT, encode_output_batch
from udfs.enrichment.base import Completed, Created, Expired, Outcome
from udfs.enrichment.wire import feature_batches, write_completed, write_expired
from udfs.serving.output import Results
from udfs.stores.history.lines import to_lines

EXPIRED = OutputTag("expired", OUTPUTS)
MADE = OutputTag("made", FEATURE_BATCH)
DATA_TYPE = "data_type"
"""The header of a completed record that holds its data type."""
_MOST = MESSAGE_LIMIT - 1000
"""Bytes of a completed record, beside which its header stands."""


def outcome_rows(outcomes: Iterable[Outcome], now: int) -> Iterator[Any]:
    """Completions, one output batch for each data type, and expirations with their tag."""
    lines: dict[str, list[bytes]] = {}
    for one in outcomes:
        expired = one
        if isinstance(one, Completed):
            line = write_completed(one)
            if len(line) <= _MOST:
                lines.setdefault(one.data_type, []).append(line)
                continue
            said = f"with its features it has {len(line):,} bytes, and {_MOST:,} are the most"
            expired = Expired(one.request, reason=said)
        assert isinstance(expired, Expired)
        yield EXPIRED, encode_output_batch([_fitting(expired)], [None], [one.request.id.encode()])
    for data_type, of in lines.items():
        headers = [((DATA_TYPE, data_type.encode()),)] * len(of)
        yield from to_rows([Results(of, [now] * len(of), None, headers)])


def _fitting(one: Expired) -> bytes:
    """As a message; without all that was missing where that is too long."""
    message = write_expired(one)
    if len(message) <= _MOST:
        return message
    return write_expired(
        msgspec.structs.replace(one, missing={}, reason=f"{one.reason} much is missing"[:500])
    )


def made_rows(created: Iterable[Created]) -> Iterator[Any]:
    """Created values for the online store and for history."""
    for batch in feature_batches(created):
        yield MADE, feature_row(batch)
        yield HISTORY, Row(batch.view, to_lines(batch.rows))
