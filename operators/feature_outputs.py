"""What an engine gave, as rows for the outputs of the operator that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from pyflink.common import Row

from operators.block_row import DEAD_LETTERS
from operators.feature_rows import HISTORY, event_row, events_tag, feature_row
from schemas.feature_block import FeatureBlock
from schemas.records import encode
from udfs.events.refused import refused_letters
from udfs.events.view_spec import ViewSpec
from udfs.features.base import Output
from udfs.features.expressions import Expressions
from udfs.features.rows import rows_as_events
from udfs.history.lines import to_lines

Pieces = Callable[[pa.RecordBatch], Iterator[tuple[int, pa.RecordBatch]]]
"""Splits events; the number says when each piece counts (the first column of an EVENT_BLOCK's value)."""


def in_one(events: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Nothing is said: Flink's own watermark counts."""
    yield 0, events


class FeatureOutputs:
    """Main output: FEATURE_BLOCK for the online store. Side outputs: HISTORY (settled rows as lines),
    `events_tag(VIEW)` (settled rows as events of the views that read it), DEAD_LETTERS (late, duplicate)."""

    def __init__(self, spec: ViewSpec, pieces: Pieces = in_one) -> None:
        self._spec, self._pieces = spec, pieces
        self._views = {name: spec.view(name) for name in spec.views}
        self._expressions = Expressions()
        self._readers = {name: spec.readers(name, self._expressions) for name in spec.views}

    def rows(self, name: str, output: Output, events: pa.RecordBatch | None = None) -> Iterator[Any]:
        """`name`: the view's id; `events`: those that the call was about."""
        view = self._views[name]
        for block in output.blocks:
            if not block.rows.num_rows:
                continue
            if self._spec.online and "online" in view.targets:
                yield feature_row(block)
            if block.settled and self._spec.history and "history" in view.targets:
                yield HISTORY, Row(view.id, to_lines(block.rows))
            if block.settled and self._readers[name]:
                yield from self._as_events(block)
        if output.refused and events is not None:
            for letter in refused_letters(view, output.refused, events, self._spec.placed(name)):
                yield DEAD_LETTERS, Row(name.encode(), encode(letter))

    def _as_events(self, block: FeatureBlock) -> Iterator[Any]:
        tag = events_tag(block.view)
        events = rows_as_events(block, self._views[block.view].entity)
        for reader in self._readers[block.view]:
            for shard, part in reader.of(events).parts:
                for at, piece in self._pieces(part):
                    yield tag, event_row(reader.id, shard, at, piece)

    def close(self) -> None:
        self._expressions.close()
