"""References beside the events of the views that they enrich: how they travel, and to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.features.declarations import Declarations, Enrichment, FeatureView, Reference, Source
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME, marked_reference
from udfs.features.enriching import columns_of, references_of
from udfs.features.events.view_events import NULL_KEY, Split


def stream_of(view: FeatureView) -> str:
    """The stream on which the events of a view travel. Views with references have one of their own, so that
    a reference that lags holds back nobody else."""
    enriched = any(isinstance(step, Enrichment) for step in view.steps)
    return f"{view.source}-enriched" if enriched else view.source


@dataclass(frozen=True, slots=True)
class EventStream:
    """`views`: the ids of those whose events travel on it; `references`: names of those that they need."""

    name: str
    views: tuple[str, ...]
    references: tuple[str, ...]


def streams_from(read: str, declared: Declarations) -> list[EventStream]:
    """The streams on which the events of a source, or the rows of a view, go to the views that read it."""
    views = [v for v in declared.views if v.source == read]
    found = []
    for name in dict.fromkeys(map(stream_of, views)):
        own = [v for v in views if stream_of(v) == name]
        needed = {r.name: None for v in own for r in references_of(v, declared)}
        found.append(EventStream(name, tuple(v.id for v in own), tuple(needed)))
    return found


def enriched_below(source: str, declared: Declarations) -> list[EventStream]:
    """The streams with references among the views that read a source, and those that read these."""
    found, reads = [], [source]
    while reads:
        for stream in streams_from(reads.pop(), declared):
            found += [stream] if stream.references else []
            reads += stream.views
    return found


def as_source(reference: Reference) -> Source:
    """What is read like a source. Its rows have no ids: which of two counts, their content says."""
    return Source(
        name=reference.name,
        columns=reference.columns,
        event_time=reference.event_time,
        topic=reference.topic,
        codec=reference.codec,
        history=reference.history,
        out_of_orderness=reference.out_of_orderness,
        idle=reference.idle,
        future=reference.future,
        since="",  # what has always been so may be of any day
    )


def source_of(name: str, declared: Declarations, is_reference: bool) -> Source:
    """A declared source, or a reference as one."""
    if is_reference:
        return as_source(next(r for r in declared.references if r.name == name))
    return next(s for s in declared.sources if s.name == name)


class ReferenceCopies:
    """What one view takes of a reference's rows: a copy for each of `parts`, since any entity may need any
    key. Used where events use `udfs.features.events.view_events.ViewEvents`."""

    def __init__(self, view: FeatureView, reference: Reference, parts: int) -> None:
        self.id, self._reference, self._parts = view.id, reference, parts
        columns = [reference.key, *columns_of(view, reference)]
        columns += [reference.deleted] if reference.deleted else []
        self._columns = [*dict.fromkeys(columns), EVENT_TIME, EVENT_ID]

    def of(self, batch: pa.RecordBatch) -> Split:
        """Rows without a key are refused."""
        missing = batch.column(self._reference.key).is_null().to_numpy(zero_copy_only=False)
        refused = [
            (int(at), NULL_KEY, f"view {self.id}: {self._reference.key!r} is null")
            for at in np.flatnonzero(missing)
        ]
        rows = batch.filter(pa.array(~missing)) if refused else batch
        rows = marked_reference(rows.select(self._columns), self._reference.name)
        return Split([(part, rows) for part in range(self._parts)] if rows.num_rows else [], refused)


def copies_of(
    name: str, declared: Declarations, views: Sequence[str], parts: int = 1
) -> list[ReferenceCopies]:
    """For those of `views` that need the reference `name`."""
    reference = next(r for r in declared.references if r.name == name)
    return [
        ReferenceCopies(view, reference, parts)
        for view in declared.views
        if view.id in views and reference in references_of(view, declared)
    ]
