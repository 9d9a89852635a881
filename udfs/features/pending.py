"""Events that the watermark has not passed yet, in chunks, each sorted by (time, id)."""

from __future__ import annotations

from dataclasses import dataclass
from operator import lt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.features.feature_batch import EVENT_ID, EVENT_TIME
from udfs.features.base import Refused

_CHUNKS = 64
_ORDER = [(EVENT_TIME, "ascending"), (EVENT_ID, "ascending")]


@dataclass(frozen=True)
class Chunk:
    """n events in order of (time, id): their row indices, times, the rows of their partials by layout."""

    events: pa.RecordBatch
    indices: NDArray[np.int64]
    times: NDArray[np.int64]
    rows: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        return len(self.times)

    def slice(self, start: int, end: int) -> Chunk:
        part = slice(start, end)
        return Chunk(
            self.events.slice(start, end - start),
            self.indices[part],
            self.times[part],
            tuple(r[part] for r in self.rows),
        )

    def take(self, index: NDArray[np.int64]) -> Chunk:
        events = self.events.take(pa.array(index))
        return Chunk(events, self.indices[index], self.times[index], tuple(r[index] for r in self.rows))


class PendingEvents:
    """What has been accepted and is not final."""

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._seen: set[tuple[int, str]] = set()

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def first(self) -> int | None:
        """The least time of all."""
        return min((int(c.times[0]) for c in self._chunks), default=None)

    def admit(self, events: pa.RecordBatch, watermark: int) -> tuple[pa.RecordBatch, list[Refused]]:
        """`events` without late ones and duplicates, of which the first is kept; by (time, id)."""
        times, refused = events.column(EVENT_TIME).to_numpy(), list[Refused]()
        if len(times) and times.min() <= watermark:
            late = times <= watermark
            refused += _refused("late", events, np.flatnonzero(late))
            events = events.filter(pa.array(~late))
            times = events.column(EVENT_TIME).to_numpy()
        marks = _marks(events)
        before = len(self._seen)
        known = not self._seen.isdisjoint(marks)
        if known or len(set(marks)) < len(marks):
            twice, first = list[int](), list[int]()
            for index, mark in enumerate(marks):
                (twice if mark in self._seen else first).append(index)
                self._seen.add(mark)
            refused += _refused("duplicate", events, np.array(twice))
            events = events.take(pa.array(first, pa.int64()))
            marks = [marks[i] for i in first]
        else:
            self._seen.update(marks)
        assert len(self._seen) == before + events.num_rows
        if not all(map(lt, marks, marks[1:])):
            events = events.take(pc.sort_indices(events, sort_keys=_ORDER))
        return events, refused

    def push(self, chunk: Chunk) -> None:
        if len(chunk):
            self._chunks.append(chunk)
        if len(self._chunks) > _CHUNKS:
            self._chunks = [join(self._chunks)]

    def take_until(self, watermark: int) -> Chunk | None:
        """Takes out everything up to `watermark`."""
        parts, rest = [], []
        for chunk in self._chunks:
            cut = int(np.searchsorted(chunk.times, watermark, side="right"))
            if cut:
                parts.append(chunk.slice(0, cut))
            if cut < len(chunk):
                rest.append(chunk.slice(cut, len(chunk)) if cut else chunk)
        if not parts:
            return None
        self._chunks = rest
        chunk = join(parts)
        self._seen.difference_update(_marks(chunk.events))
        return chunk

    def of(self, touched: NDArray[np.bool_]) -> list[tuple[Chunk, NDArray[np.int64]]]:
        """The events of row indices that are `touched`: where they are."""
        found = []
        for chunk in self._chunks:
            index = np.flatnonzero(touched[chunk.indices])
            if len(index):
                found.append((chunk, index))
        return found

    def take_all(self) -> list[Chunk]:
        """Takes out everything; what has been seen stays known."""
        taken, self._chunks = self._chunks, []
        return taken

    def by_group(self, groups: NDArray[np.int64]) -> dict[int, pa.RecordBatch]:
        """The events of each key group that has some; `groups`: of each row index."""
        if not self._chunks:
            return {}
        events = pa.Table.from_batches([c.events for c in self._chunks]).combine_chunks().to_batches()[0]
        of = groups[np.concatenate([c.indices for c in self._chunks])]
        order = np.argsort(of, kind="stable")
        found, starts = np.unique(of[order], return_index=True)
        events = events.take(pa.array(order))
        ends = [*starts[1:].tolist(), len(order)]
        return {
            int(group): events.slice(start, end - start)
            for group, start, end in zip(found, starts.tolist(), ends, strict=True)
        }


def join(chunks: list[Chunk]) -> Chunk:
    """One chunk of all, in order."""
    if len(chunks) == 1:
        return chunks[0]
    events = pa.Table.from_batches([c.events for c in chunks]).combine_chunks().to_batches()[0]
    order = pc.sort_indices(events, sort_keys=_ORDER).to_numpy().astype(np.int64)
    indices = np.concatenate([c.indices for c in chunks])
    times = np.concatenate([c.times for c in chunks])
    rows = tuple(np.concatenate(r) for r in zip(*(c.rows for c in chunks), strict=True))
    return Chunk(events, indices, times, rows).take(order)


def _marks(events: pa.RecordBatch) -> list[tuple[int, str]]:
    ids = events.column(EVENT_ID).to_numpy(zero_copy_only=False).tolist()
    return list(zip(events.column(EVENT_TIME).to_numpy().tolist(), ids, strict=True))


def _refused(code: str, events: pa.RecordBatch, index: NDArray[Any]) -> list[Refused]:
    taken = events.select([EVENT_TIME, EVENT_ID]).take(pa.array(index, pa.int64()))
    return [Refused(code, t, i) for t, i in zip(*(c.to_pylist() for c in taken.columns), strict=True)]
