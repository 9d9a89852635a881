"""A source's history as events of the views that read it, in slices of event time."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from schemas.features.declarations import Declarations, FeatureType
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME
from schemas.results.records import RAW_LIMIT, DeadLetter
from schemas.tensors import BadRecord
from udfs.features.events.acceptable import Refused, lacking, numbers_or_null, untimely
from udfs.features.events.decoder import Takes
from udfs.features.events.references import copies_of, source_of
from udfs.features.events.view_events import ViewEvents
from udfs.features.expressions import Expressions
from udfs.io.s3 import S3Options
from udfs.stores.history.files import file_system, read_batches


@dataclass(frozen=True, slots=True)
class HistorySpec:
    """`source`: the name of a source, or with `is_reference` of a reference. `slice_ms`: how much event
    time becomes final at once; `most`: rows of a batch; `groups`, `parts`: see
    `udfs.features.entity_keys.Spread`."""

    declared: Declarations
    source: str
    s3: S3Options
    slice_ms: int = 3_600_000
    groups: int = 1
    parts: int = 1
    most: int = 10_000
    is_reference: bool = False

    def reader(self) -> HistoryReader:
        return HistoryReader(self, lambda: time.time_ns() // 1_000_000)

    def pieces(self, events: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Events by time slice: its start, which is as old as they are or older, and at most `most` rows."""
        starts = events.column(EVENT_TIME).to_numpy() // self.slice_ms * self.slice_ms
        order = np.argsort(starts, kind="stable")
        found, first = np.unique(starts[order], return_index=True)
        ordered = events.take(pa.array(order)) if len(found) > 1 else events
        for start, begin, end in zip(found, first, [*first[1:], len(order)], strict=True):
            for at in range(int(begin), int(end), self.most):
                yield int(start), ordered.slice(at, min(self.most, int(end) - at))


class HistoryReader:
    """Reads the files of one source. What no view can take is a dead letter, as in a stream. `now`: epoch
    milliseconds, against which future events are judged."""

    def __init__(self, spec: HistorySpec, now: Callable[[], int]) -> None:
        self._now = now
        declared = spec.declared
        self._spec = spec
        self._source = source_of(spec.source, declared, spec.is_reference)
        self._files, _ = file_system(self._source.history, spec.s3)
        self._expressions = Expressions()
        self._views: Sequence[Takes]
        if spec.is_reference:
            self._views = copies_of(spec.source, declared, [v.id for v in declared.views], spec.parts)
        else:
            read = (v for v in declared.views if v.source == spec.source)
            spread = spec.groups, spec.parts
            self._views = [ViewEvents(v, declared, self._expressions, *spread) for v in read]
        self._types = {c.name: c.type for c in self._source.columns} | {EVENT_ID: FeatureType.STRING}
        self._units = {c.name: c.unit for c in self._source.columns}
        self._nullable = [c.name for c in self._source.columns if c.nullable] + [EVENT_ID]

    def read(self, path: str) -> Iterator[tuple[str, int, int, pa.RecordBatch] | DeadLetter]:
        """View id, part, time slice and events; or dead letters."""
        row = 0
        for batch in read_batches(self._files, path, self._types, self._nullable, self._units):
            events = self._identified(batch, path, row)
            rows = np.arange(row, row + batch.num_rows)
            row += batch.num_rows
            keep = np.ones(events.num_rows, bool)
            for at, code, reason in self._refused(events):
                if keep[at]:
                    keep[at] = False
                    yield self._letter(events, path, at, BadRecord(int(rows[at]), code, reason))
            if not keep.all():
                events, rows = events.filter(pa.array(keep)), rows[keep]
            for view in self._views:
                split = view.of(events)
                for at, code, reason in split.refused:
                    yield self._letter(events, path, at, BadRecord(int(rows[at]), code, reason))
                for part, taken in split.parts:
                    for begin, piece in self._spec.pieces(taken):
                        yield view.id, part, begin, piece

    def close(self) -> None:
        self._expressions.close()

    def _refused(self, events: pa.RecordBatch) -> Iterator[Refused]:
        yield from lacking(events, self._source.columns)
        yield from untimely(events.column(EVENT_TIME), self._source, self._now())

    def _identified(self, batch: pa.RecordBatch, path: str, first: int) -> pa.RecordBatch:
        """An event's id: its column, or what a stream knew it by, or its place in the file."""
        ids: Sequence[pa.Array] = [batch.column(EVENT_ID)]
        if self._source.event_id:
            ids = [batch.column(self._source.event_id).cast(pa.string()), *ids]
        own = pa.array([f"{path}/0/{row}" for row in range(first, first + batch.num_rows)], pa.string())
        names = [c.name for c in self._source.columns]
        columns = [numbers_or_null(batch.column(c.name), c.type) for c in self._source.columns]
        columns += [batch.column(self._source.event_time), pc.coalesce(*ids, own)]
        return pa.RecordBatch.from_arrays(columns, names=[*names, EVENT_TIME, EVENT_ID])

    def _letter(self, events: pa.RecordBatch, path: str, at: int, bad: BadRecord) -> DeadLetter:
        raw = orjson.dumps(events.slice(at, 1).to_pylist()[0])
        return DeadLetter(
            data_type=self._source.name,
            source=path,
            partition=0,
            offset=bad.row,
            event_time=events.column(EVENT_TIME)[at].as_py() or 0,
            code=bad.code,
            reason=bad.reason,
            raw=base64.b64encode(raw[:RAW_LIMIT]).decode(),
            size=len(raw),
            columns=True,
        )
