"""What an engine gave, as rows for the outputs of the operator that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyflink.common import Row

from operators.event_watermark import mark_row
from operators.features.feature_rows import HISTORY, event_row, events_tag, feature_row
from operators.rows import to_rows
from schemas.features.declarations import FeatureView
from schemas.features.feature_batch import FeatureBatch
from udfs.features.base import Refused, ViewOutput
from udfs.features.events.references import streams_from
from udfs.features.events.refused import refused_letters, refused_rows
from udfs.features.events.view_spec import ViewSpec
from udfs.features.expressions import Expressions
from udfs.features.rows import rows_as_events
from udfs.stores.history.lines import to_lines

Pieces = Callable[[pa.RecordBatch], Iterator[tuple[int, pa.RecordBatch]]]
"""Splits events; the number says when each piece counts (the first column of an EVENT_BATCH's value)."""


def in_one(events: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Nothing is said: Flink's own watermark counts."""
    yield 0, events


class FeatureOutputs:
    """Main output: FEATURE_BATCH for the online store. Side outputs: HISTORY (final rows as lines),
    `events_tag(STREAM)` (final rows as events of the views that read it), DEAD_LETTERS (what the engine
    refused). `keys`: of the instances or parts that compute the views that read these. `expressions`: those
    of the operator instance."""

    def __init__(self, spec: ViewSpec, keys: Sequence[str], pieces: Pieces = in_one) -> None:
        self._spec, self._keys, self._pieces = spec, keys, pieces
        self._views = {name: spec.view(name) for name in spec.views}
        self.expressions = Expressions()
        self._readers = {name: spec.readers(name, self.expressions, len(keys)) for name in spec.views}
        self._tags = {
            view: events_tag(stream.name)
            for name in spec.views
            for stream in streams_from(name, spec.declared)
            for view in stream.views
        }

    def rows(self, name: str, output: ViewOutput, events: pa.RecordBatch | None = None) -> Iterator[Any]:
        """`name`: the view's id; `events`: those that the call was about."""
        view = self._views[name]
        for batch in output.batches:
            if not batch.rows.num_rows:
                continue
            left = view.gives_provisional and not view.final_may_differ
            again = batch.final and left and not self._spec.final_again
            if self._spec.online and "online" in view.targets and not again:
                yield feature_row(batch)
            if batch.final and self._spec.history and "history" in view.targets:
                yield HISTORY, Row(view.id, to_lines(batch.rows))
            if batch.final and self._readers[name]:
                yield from self._as_events(batch)
        about = events if output.events is None else output.events
        if about is not None:
            yield from self._dead(view, output.refused, about, self._spec.placed(name))

    def marks(self) -> Iterator[Any]:
        """To every instance of the views that read these."""
        for tag in {tag.tag_id: tag for tag in self._tags.values()}.values():
            for key in self._keys:
                yield tag, mark_row(0, key)

    def _as_events(self, batch: FeatureBatch) -> Iterator[Any]:
        events = rows_as_events(batch, self._views[batch.view].entity)
        for reader in self._readers[batch.view]:
            split = reader.of(events)
            for part, taken in split.parts:
                for at, piece in self._pieces(taken):
                    yield self._tags[reader.id], event_row(self._keys[part], reader.id, at, piece)
            refused = refused_rows(events, split.refused)
            yield from self._dead(self._spec.view(reader.id), refused, events, placed=False)

    def _dead(
        self, view: FeatureView, refused: Sequence[Refused], events: pa.RecordBatch, placed: bool
    ) -> Iterator[Any]:
        yield from to_rows(refused_letters(view, refused, events, placed))

    def close(self) -> None:
        self.expressions.close()
