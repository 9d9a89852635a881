"""Rows of features as Arrow, and a view's rows as the events of another view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.features.declarations import Aggregate, Declarations, Derived, FeatureView, Value
from schemas.features.feature_block import ARROW, CREATED, EVENT_ID, EVENT_TIME, TIMESTAMP, FeatureBlock
from schemas.features.rules import event_types, feature_types
from udfs.features.base import Entity
from udfs.features.emitting import Points
from udfs.features.functions import FunctionCall


class Rows:
    """Makes the rows of one view."""

    def __init__(self, view: FeatureView, declared: Declarations) -> None:
        events, features = event_types(view, declared), feature_types(view, declared)
        self._view, self._types = view, features
        self._calls = {f.name: FunctionCall(f) for f in view.features if isinstance(f, Derived)}
        self.schema = pa.schema(
            [pa.field(name, ARROW[events[name]]) for name in view.entity]
            + [pa.field(name, ARROW[kind]) for name, kind in features.items()]
            + [pa.field(TIMESTAMP, pa.int64()), pa.field(CREATED, pa.int64())]
        )

    def make(
        self, points: Points, events: pa.RecordBatch, entities: Sequence[Entity | None], created: int
    ) -> pa.RecordBatch:
        """Raises `FeatureError` where a function fails."""
        n = len(points.slots)
        whole = n == events.num_rows and bool((points.events == np.arange(n)).all())
        index = pa.array(points.events, mask=points.events < 0)
        columns: dict[str, pa.Array] = {}
        if bool((points.events >= 0).all()):
            columns = {name: events.column(name) for name in self._view.entity}
            if not whole:
                columns = {name: column.take(index) for name, column in columns.items()}
        else:
            keys = [entities[s] or () for s in points.slots.tolist()]
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
        columns[CREATED] = pa.array(created + _turns(points))
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=self.schema)


def _turns(points: Points) -> NDArray[np.int64]:
    """Which of several rows of one entity and time each is. Readers of history, Feast too, take of such the
    one that was created last, and that must be the last: so each is created a millisecond after the other."""
    times, slots = points.times, points.slots
    turns = np.zeros(len(times), np.int64)
    if len(times) > 1 and (times[1:] == times[:-1]).any():
        order = np.lexsort((slots, times))  # stable
        times, slots = times[order], slots[order]
        first = np.append(True, (times[1:] != times[:-1]) | (slots[1:] != slots[:-1]))
        starts = np.flatnonzero(first)
        turns[order] = np.arange(len(times)) - starts[np.cumsum(first) - 1]
    return turns


def rows_as_events(block: FeatureBlock, entity: Sequence[str]) -> pa.RecordBatch:
    """A view's settled rows as events of a view that reads it: their time is the event's time, their id
    is made of time, entity and which of several such rows it is, the same whenever it is computed."""
    rows = block.rows
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
