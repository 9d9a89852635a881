"""Rows of features as Arrow, and a view's rows as the events of another view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.errors import FeatureError
from schemas.features.declarations import (
    Aggregate,
    Declarations,
    Derived,
    FeatureType,
    FeatureView,
    Sum,
    Value,
)
from schemas.features.feature_batch import ARROW, CREATED, EVENT_ID, EVENT_TIME, TIMESTAMP, FeatureBatch
from schemas.features.rules import event_types, feature_types
from udfs.features import scalars
from udfs.features.base import Entity
from udfs.features.emitting import Points
from udfs.features.functions import FunctionCall
from udfs.features.steps import Failed


class Rows:
    """Makes the rows of one view."""

    def __init__(self, view: FeatureView, declared: Declarations) -> None:
        events, features = event_types(view, declared), feature_types(view, declared)
        self._view, self._types = view, features
        self._calls = {f.name: FunctionCall(f) for f in view.features if isinstance(f, Derived)}
        self._lists = [name for name, kind in features.items() if kind.value.endswith("_list")]
        sums = {a.name for a in view.aggregates() if isinstance(a.of, Sum)}
        self._sums = [name for name in features if name in sums and features[name] is FeatureType.INT64]
        self.schema = pa.schema(
            [pa.field(name, ARROW[events[name]]) for name in view.entity]
            + [pa.field(name, ARROW[kind]) for name, kind in features.items()]
            + [pa.field(TIMESTAMP, pa.int64()), pa.field(CREATED, pa.int64())]
        )

    def make(
        self, points: Points, events: pa.RecordBatch, entities: Sequence[Entity | None], created: int
    ) -> tuple[pa.RecordBatch, list[Failed]]:
        """The rows, and those of the points that have none, with the reason: a function failed on it, a sum
        does not fit, a list holds a null. Neighbours are not touched: what fails is made in halves."""
        parts, failed = list[tuple[pa.RecordBatch, NDArray[np.int64]]](), list[Failed]()
        self._halves(points, events, entities, np.arange(len(points.indices)), parts, failed)
        kept = np.concatenate([index for _, index in parts]) if parts else np.zeros(0, np.int64)
        made = [rows for rows, _ in parts] or [pa.RecordBatch.from_pylist([], schema=self.schema)]
        rows = made[0] if len(made) == 1 else pa.Table.from_batches(made).combine_chunks().to_batches()[0]
        stamps = pa.array(created + _turns(points if not failed else points.take(kept)))
        return rows.set_column(rows.num_columns - 1, self.schema.field(CREATED), stamps), failed

    def _halves(  # noqa: PLR0917
        self,
        points: Points,
        events: pa.RecordBatch,
        entities: Sequence[Entity | None],
        index: NDArray[np.int64],
        parts: list[tuple[pa.RecordBatch, NDArray[np.int64]]],
        failed: list[Failed],
    ) -> None:
        """`index`: of these points among all."""
        if not len(index):
            return
        try:
            rows = self._columns(points, events, entities)
        except FeatureError as e:
            if len(index) == 1:
                failed.append(Failed(int(index[0]), f"{e!s:.200}"))
                return
            half = len(index) // 2
            for part in (np.arange(half), np.arange(half, len(index))):
                self._halves(points.take(part), events, entities, index[part], parts, failed)
            return
        reasons = self._unfit(rows)
        if reasons:
            failed += [Failed(int(index[row]), reason) for row, reason in sorted(reasons.items())]
            fit = np.array([row for row in range(len(index)) if row not in reasons], np.int64)
            rows, index = rows.take(pa.array(fit)), index[fit]
        parts.append((rows, index))

    def _unfit(self, rows: pa.RecordBatch) -> dict[int, str]:
        """Rows with a value that no store can hold."""
        found: dict[int, str] = {}
        for name in self._sums:
            beyond = pc.equal(rows.column(name), scalars.TOO_LARGE).fill_null(False)
            where = np.flatnonzero(beyond.to_numpy(zero_copy_only=False)).tolist()
            what = f"the sum {name!r} does not fit into 64 bits: sum a float64 column (a step can cast it)"
            found |= dict.fromkeys(where, what)
        for name in self._lists:
            values = rows.column(name)
            if values.flatten().null_count:
                holds = [row for row, value in enumerate(values.to_pylist()) if value and None in value]
                found |= dict.fromkeys(holds, f"the list {name!r} holds a null")
        return found

    def _columns(
        self, points: Points, events: pa.RecordBatch, entities: Sequence[Entity | None]
    ) -> pa.RecordBatch:
        """The rows with CREATED empty. Raises `FeatureError` where a function fails."""
        n = len(points.indices)
        whole = n == events.num_rows and bool((points.events == np.arange(n)).all())
        index = pa.array(points.events, mask=points.events < 0)
        columns: dict[str, pa.Array] = {}
        if bool((points.events >= 0).all()):
            columns = {name: events.column(name) for name in self._view.entity}
            if not whole:
                columns = {name: column.take(index) for name, column in columns.items()}
        else:
            keys = [entities[i] or () for i in points.indices.tolist()]
            for place, name in enumerate(self._view.entity):
                columns[name] = pa.array([k[place] for k in keys], self.schema.field(name).type)
        for feature in self._view.features:
            if isinstance(feature, Aggregate):
                column = points.aggregates[feature.name]
            elif isinstance(feature, Value):
                column = events.column(feature.column or feature.name)
                column = column if whole else column.take(index)
            else:
                known = pa.RecordBatch.from_pydict({name: columns[name] for name in feature.inputs})
                column = self._calls[feature.name](known)
            kind = self.schema.field(feature.name).type
            columns[feature.name] = column if column.type == kind else column.cast(kind)
        columns[TIMESTAMP] = pa.array(points.times)
        columns[CREATED] = pa.nulls(n, pa.int64())
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=self.schema)


def _turns(points: Points) -> NDArray[np.int64]:
    """Which of several rows of one entity and time each is. Readers of history, Feast too, take of such the
    one that was created last, and that must be the last: so each is created a millisecond after the other."""
    times, indices = points.times, points.indices
    turns = np.zeros(len(times), np.int64)
    if len(times) > 1 and (times[1:] == times[:-1]).any():
        order = np.lexsort((indices, times))  # stable
        times, indices = times[order], indices[order]
        first = np.append(True, (times[1:] != times[:-1]) | (indices[1:] != indices[:-1]))
        starts = np.flatnonzero(first)
        turns[order] = np.arange(len(times)) - starts[np.cumsum(first) - 1]
    return turns


def rows_as_events(batch: FeatureBatch, entity: Sequence[str]) -> pa.RecordBatch:
    """A view's final rows as events of a view that reads it: their time is the event's time, their id
    is made of time, entity and which of several such rows it is, the same whenever it is computed."""
    rows = batch.rows
    times = rows.column(TIMESTAMP)
    keys = list(zip(times.to_pylist(), *(rows.column(name).to_pylist() for name in entity), strict=True))
    seen: dict[tuple[object, ...], int] = {}
    ids = []
    for key in keys:
        seen[key] = seen.get(key, -1) + 1
        ids.append("/".join(map(str, (*key, seen[key]))))
    return pa.RecordBatch.from_arrays(
        [*rows.columns, times, pa.array(ids, pa.string())],
        names=[*rows.schema.names, EVENT_TIME, EVENT_ID],
    )
