"""The steps of a view from its first enrichment on: they run again when an event becomes final."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from schemas.features.declarations import (
    Declarations,
    Enrichment,
    Expression,
    FeatureType,
    FeatureView,
    Function,
    Reference,
)
from schemas.features.feature_batch import ARROW, EVENT_TIME
from schemas.features.rules import event_types, split_steps
from udfs.features.expressions import Expressions
from udfs.features.steps import Failed, Steps
from udfs.features.versions import Versions


def references_of(view: FeatureView, declared: Declarations) -> list[Reference]:
    """The references that a view's steps name, in the order of declaration."""
    named = {step.reference for step in view.steps if isinstance(step, Enrichment)}
    return [reference for reference in declared.references if reference.name in named]


def columns_of(view: FeatureView, reference: Reference) -> list[str]:
    """The columns that a view takes from a reference, in order."""
    steps = (s for s in view.steps if isinstance(s, Enrichment) and s.reference == reference.name)
    return sorted({column for step in steps for column in step.columns.values()})


class Enriching:
    """References of one view, and the steps over them.

    `inputs`: the columns that events must keep until they are final, for these steps. Events come with
    them and `__event_time`.
    """

    def __init__(self, view: FeatureView, declared: Declarations, expressions: Expressions) -> None:
        before, after = split_steps(view)
        known = event_types(view, declared, before)
        self._versions = {
            reference.name: Versions(reference, columns_of(view, reference))
            for reference in references_of(view, declared)
        }
        types = event_types(view, declared)
        self._steps = Steps(after, known, types, expressions, lookup=self._look_up)
        made = {name: kind for name, kind in types.items() if name not in known}
        self._made: dict[str, FeatureType] = made
        self.inputs = _inputs(after, [*known], [*made], expressions)

    def take(self, reference: str, rows: pa.RecordBatch) -> None:
        self._versions[reference].take(rows)

    def unknown(self, events: pa.RecordBatch) -> pa.RecordBatch:
        """`events` with the steps' columns, all null."""
        return self._with(events, [pa.nulls(events.num_rows, ARROW[kind]) for kind in self._made.values()])

    def so_far(self, events: pa.RecordBatch) -> pa.RecordBatch:
        """`events` with the steps' columns by what is known of the references; null where a step fails."""
        stepped, rows, failed = self._run(events)
        if not failed:
            return stepped
        place = np.full(events.num_rows, -1)
        place[rows] = np.arange(len(rows))
        index = pa.array(place, mask=place < 0)
        return self._with(events, [stepped.column(name).take(index) for name in self._made])

    def final(self, events: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray, Sequence[Failed]]:
        """The events on which no step fails with the steps' columns, which of `events` they are, the rest."""
        return self._run(events)

    def forget(self, watermark: int) -> None:
        """Drop what no event after the watermark can see."""
        for versions in self._versions.values():
            versions.changes(watermark)

    def _run(self, events: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray, list[Failed]]:
        pieces, rows, failed = [], [np.zeros(0, np.int64)], []
        for found in self._steps.in_halves(events):
            if isinstance(found, Failed):
                failed.append(found)
            else:
                start, piece = found
                pieces.append(piece)
                rows.append(np.arange(start, start + piece.num_rows))
        if len(pieces) == 1:
            return pieces[0], np.concatenate(rows), failed
        none = self.unknown(events.slice(0, 0))
        whole = pa.Table.from_batches([none, *pieces]).combine_chunks().to_batches()
        return (whole[0] if whole else none), np.concatenate(rows), failed

    def _look_up(self, step: Enrichment, batch: pa.RecordBatch) -> list[pa.Array]:
        times = batch.column(EVENT_TIME).to_numpy()
        found = self._versions[step.reference].as_of(batch.column(step.on), times)
        return [found[column] for column in step.columns.values()]

    def _with(self, events: pa.RecordBatch, made: Sequence[pa.Array]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([*events.columns, *made], names=[*events.schema.names, *self._made])


def _inputs(
    steps: Sequence[object], known: Sequence[str], made: Sequence[str], expressions: Expressions
) -> set[str]:
    found = set[str]()
    for step in steps:
        if isinstance(step, Function):
            found.update(step.inputs)
        elif isinstance(step, Enrichment):
            found.add(step.on)
        elif isinstance(step, Expression):
            found |= expressions.columns(step.sql, [*known, *made])
    return found & {*known}
