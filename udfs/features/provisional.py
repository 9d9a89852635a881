"""What an entity's windows hold as of its newest event, be that final or pending.

For each entity the newest event's tile is kept as it is then: `sums` of the events in it, and `prefix`, what
the window holds of earlier tiles. An event that is newer still, in the same tile, is added to the sums; after
any other the entity is computed anew from its tiles and its pending events. Nothing changes here when events
become final, since the same ones are meant, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from udfs.features.emitting import Int, Points, works
from udfs.features.pending import Chunk, PendingEvents, join
from udfs.features.tiles import NONE, Tiles
from udfs.features.windows import WindowState


class Provisional:
    """State by row index; none of it is saved, since it follows from the rest."""

    def __init__(self, states: Sequence[WindowState]) -> None:
        self._states = states
        self._time = np.zeros(0, np.int64)
        self._tile = np.zeros((len(states), 0), np.int64)
        self._sums: list[NDArray[Any]] = [s.layout.rows(0) for s in states]
        self._prefix: list[NDArray[Any]] = [s.layout.rows(0) for s in states]

    def grow(self, count: int) -> None:
        more = count - len(self._time)
        self._time = np.concatenate([self._time, np.full(more, NONE)])
        self._tile = np.concatenate([self._tile, np.full((len(self._states), more), NONE)], axis=1)
        for rows in (self._sums, self._prefix):
            rows[:] = [
                np.concatenate([r, s.layout.rows(more)]) for r, s in zip(rows, self._states, strict=True)
            ]

    def clear(self, row_index: int) -> None:
        self._time[row_index] = NONE

    def take(self, chunk: Chunk, pending: PendingEvents) -> list[tuple[Points, pa.RecordBatch]]:
        """The newest row of each entity of `chunk`, which is in `pending` already, and the events that the
        points refer to."""
        order = np.argsort(chunk.indices, kind="stable")
        indices, times = chunk.indices[order], chunk.times[order]
        starts = np.flatnonzero(np.append(True, indices[1:] != indices[:-1]))
        ends = np.append(starts[1:], len(indices)) - 1
        of = indices[starts]
        newer = (self._time[of] != NONE) & (times[starts] > self._time[of])
        for n, state in enumerate(self._states):
            newer &= times[ends] // _tiles(state).grid.size == self._tile[n, of]
        found = []
        if newer.any():
            runs = starts[newer], ends[newer] + 1 - starts[newer]
            found.append((self._extend(chunk, order, of[newer], runs), chunk.events))
        if not newer.all():
            found.append(self._anew(of[~newer], pending))
        return found

    def _extend(self, chunk: Chunk, order: Int, indices: Int, runs: tuple[Int, Int]) -> Points:
        starts, lengths = runs
        last = starts + lengths - 1
        values: dict[str, pa.Array] = {}
        for n, state in enumerate(self._states):
            sums = state.layout.cumulate(chunk.rows[n][order], starts, lengths, self._sums[n][indices])[last]
            self._sums[n][indices] = sums
            values |= state.values(state.layout.merge(self._prefix[n][indices], sums))
        events = order[last]
        self._time[indices] = chunk.times[events]
        return Points(indices, chunk.times[events], events, values)

    def _anew(self, indices: Int, pending: PendingEvents) -> tuple[Points, pa.RecordBatch]:
        touched = np.zeros(len(self._time), bool)
        touched[indices] = True
        chunk, order, newest = _by_row_index(pending.of(touched))
        sorted_indices = chunk.indices[order]
        last = np.flatnonzero(np.append(sorted_indices[1:] != sorted_indices[:-1], True))
        indices, events = sorted_indices[last], order[last]
        values: dict[str, pa.Array] = {}
        for n, (state, work) in enumerate(zip(self._states, works(self._states, chunk, order), strict=True)):
            tile, prefix, sums = work.newest()
            self._tile[n, indices] = tile
            self._prefix[n][indices], self._sums[n][indices] = prefix, sums
            values |= state.values(state.layout.merge(prefix, sums))
        self._time[indices] = chunk.times[events]
        return Points(indices, chunk.times[events], np.arange(len(indices)), values), newest(events)


def _by_row_index(
    parts: Sequence[tuple[Chunk, Int]],
) -> tuple[Chunk, Int, Callable[[Int], pa.RecordBatch]]:
    """The chosen events of some chunks as one, without their columns; their order by (row index, time,
    id); and how some of them are had with their columns.

    Chunks are sorted by (time, id). So ids decide only between events of two chunks that have one row index
    and one time, which is rare; to sort all by their ids, and to copy all their columns, would cost most of
    it.
    """
    indices, times = (
        np.concatenate([getattr(c, name)[i] for c, i in parts]) for name in ("indices", "times")
    )
    order = np.lexsort((times, indices))  # stable
    source = np.repeat(np.arange(len(parts)), [len(i) for _, i in parts])
    s, t, of = indices[order], times[order], source[order]
    if ((s[1:] == s[:-1]) & (t[1:] == t[:-1]) & (of[1:] != of[:-1])).any():
        whole = join([c.take(i) for c, i in parts])
        return (
            whole,
            np.argsort(whole.indices, kind="stable"),
            lambda events: whole.events.take(pa.array(events)),
        )
    rows = tuple(
        np.concatenate(r) for r in zip(*([rows[i] for rows in c.rows] for c, i in parts), strict=True)
    )
    place = np.concatenate([i for _, i in parts])

    def newest(events: Int) -> pa.RecordBatch:
        by_source = np.argsort(source[events], kind="stable")
        taken = [
            chunk.events.take(pa.array(place[mine]))
            for number, (chunk, _) in enumerate(parts)
            if len(mine := events[by_source][source[events][by_source] == number])
        ]
        back = np.empty_like(by_source)
        back[by_source] = np.arange(len(by_source))
        return pa.Table.from_batches(taken).combine_chunks().to_batches()[0].take(pa.array(back))

    return Chunk(parts[0][0].events.slice(0, 0), indices, times, rows), order, newest


def _tiles(state: WindowState) -> Tiles:
    assert isinstance(state.store, Tiles)
    return state.store
