"""Micro-batches of raw records as events of the views that read their source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.features.arrow_events import EventReader
from schemas.features.declarations import Source
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME, PRODUCED
from schemas.micro_batch import MicroBatch
from schemas.results.dead_letter import dead_letter
from schemas.results.records import DeadLetter
from schemas.tensors import BadRecord
from udfs.features.events.acceptable import untimely
from udfs.features.events.view_events import Split
from udfs.io.record_codecs import open_codec


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """`parts`: view id, number of the part and events, none empty. `newest`: partition -> greatest event time
    of its good events, None where there was none. It is never ahead of the clock: an event that is waits
    until the clock has come so far, and makes no other late."""

    parts: Sequence[tuple[str, int, pa.RecordBatch]]
    dead: Sequence[DeadLetter]
    newest: Mapping[int, int | None]


class Takes(Protocol):
    """What a view takes of good events."""

    id: str

    def of(self, batch: pa.RecordBatch) -> Split: ...


class EventDecoder:
    """Of one source. `now`: epoch milliseconds, against which future events are judged.

    Each record is an event or a dead letter; each event, for each view, a row or a dead letter (its entity
    is null, or a step of the view failed on it).
    """

    def __init__(self, source: Source, views: Sequence[Takes], now: Callable[[], int]) -> None:
        self._source, self._views, self._now = source, views, now
        self._reader = EventReader(source, open_codec(source.codec))

    def decode(self, micro_batch: MicroBatch) -> DecodedBatch:
        read = self._reader.read(micro_batch.payloads)
        rows, bad = np.asarray(read.rows, np.int64), list(read.bad)
        batch = self._identified(read.batch, rows, micro_batch)
        keep = np.ones(len(rows), bool)
        for at, code, reason in untimely(batch.column(EVENT_TIME), self._source, self._now()):
            keep[at] = False
            bad.append(BadRecord(int(rows[at]), code, reason))
        if not keep.all():
            batch, rows = batch.filter(pa.array(keep)), rows[keep]
        parts = []
        for view in self._views:
            found = view.of(batch)
            parts += [(view.id, part, events) for part, events in found.parts]
            bad += [BadRecord(int(rows[at]), code, reason) for at, code, reason in found.refused]
        times = batch.column(EVENT_TIME).to_numpy()
        partitions = np.asarray(micro_batch.partitions)
        return DecodedBatch(
            parts,
            [dead_letter(micro_batch, one) for one in bad],
            dict(_newest(partitions, partitions[rows], np.minimum(times, self._now()))),
        )

    def _identified(self, batch: pa.RecordBatch, rows: np.ndarray, micro_batch: MicroBatch) -> pa.RecordBatch:
        names, arrays = list(batch.schema.names), list(batch.columns)
        source, count = self._source, len(rows)
        ids = pa.nulls(count, pa.string())
        if source.event_id:
            ids = batch.column(source.event_id).cast(pa.string())
        if ids.null_count:
            source_name, of, at = micro_batch.source, micro_batch.partitions, micro_batch.offsets
            own = [f"{source_name}/{of[row]}/{at[row]}" for row in rows]
            ids = pc.coalesce(ids, pa.array(own, pa.string()))
        produced = pa.array(
            [micro_batch.event_times[row] for row in rows], pa.int64()
        )  # null: it came without
        arrays += [batch.column(source.event_time), ids, produced]
        return pa.RecordBatch.from_arrays(arrays, names=[*names, EVENT_TIME, EVENT_ID, PRODUCED])


def _newest(seen: np.ndarray, of_events: np.ndarray, times: np.ndarray) -> Iterator[tuple[int, int | None]]:
    for partition in np.unique(seen):
        own = times[of_events == partition]
        yield int(partition), int(own.max()) if len(own) else None
