"""How completions, expirations and created values look in Flink."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyflink.common import Row
from pyflink.datastream.output_tag import OutputTag
from schemas.block import SEPARATOR

from operators.block_row import DEAD_LETTERS, to_rows
from operators.features.feature_rows import FEATURE_BLOCK, HISTORY, feature_row
from udfs.enrichment.base import Completed, Created, Outcome
from udfs.enrichment.wire import feature_blocks, write_completed, write_expired
from udfs.serving.output import SHARED, ResultRun
from udfs.stores.history.lines import to_lines

EXPIRED = OutputTag("expired", DEAD_LETTERS.type_info)
MADE = OutputTag("made", FEATURE_BLOCK)
DATA_TYPE = "data_type"
"""The header of a completed record that holds its data type."""


def outcome_rows(outcomes: Iterable[Outcome], now: int) -> Iterator[Any]:
    """Completions as rows of RESULTS, one for each data type, and expirations with their tag."""
    lines: dict[str, list[bytes]] = {}
    for one in outcomes:
        if isinstance(one, Completed):
            lines.setdefault(one.data_type, []).append(write_completed(one))
        else:
            yield EXPIRED, Row(one.request.id.encode(), write_expired(one))
    for data_type, of in lines.items():
        marks = SEPARATOR.join([SHARED] * len(of))
        yield from to_rows([ResultRun(of, marks, now, None, {DATA_TYPE: data_type.encode()})])


def made_rows(created: Iterable[Created]) -> Iterator[Any]:
    """Created values for the online store and for history."""
    for block in feature_blocks(created):
        yield MADE, feature_row(block)
        yield HISTORY, Row(block.view, to_lines(block.rows))
