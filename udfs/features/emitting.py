"""When a view's rows are due, and what its windows hold then: at events, thresholds, the ends of windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.features.declarations import Count, FeatureView, Max, OnThreshold
from udfs.features.pending import Chunk
from udfs.features.sessions import Sessions
from udfs.features.tiles import NONE, Tiles, Work
from udfs.features.windows import WindowState

NEVER = 2**63 - 1
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """n rows to be: the entity's row index, time, the event among the final ones (or -1), the aggregates."""

    indices: Int
    times: Int
    events: Int
    aggregates: Mapping[str, pa.Array]

    def take(self, index: Int) -> Points:
        taken = {name: a.take(pa.array(index)) for name, a in self.aggregates.items()}
        return Points(self.indices[index], self.times[index], self.events[index], taken)


class Emitter(Protocol):
    """Takes final events into the windows."""

    def advance(self, chunk: Chunk, due: Int, after: int, until: int) -> Points:
        """`chunk`: events with times in `(after, until]`; `due`: row indices whose alarm lies there too."""
        ...


@dataclass
class Alarms:
    """By row index: the watermark at which something is due although no event comes; and whether it is above
    its limit."""

    at: Int
    above: NDArray[np.bool_]


class AtEvents:
    """A row for each event."""

    def __init__(self, states: Sequence[WindowState]) -> None:
        self._states = states

    def advance(self, chunk: Chunk, due: Int, after: int, until: int) -> Points:
        order = np.argsort(chunk.indices, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        found: dict[str, pa.Array] = {}
        for state, work in zip(self._states, works(self._states, chunk, order), strict=True):
            found |= state.values(work.at_events()[back])
            work.commit()
        return Points(chunk.indices, chunk.times, np.arange(len(chunk)), found)


class AtThresholds:
    """Threshold alerts: a row where a feature begins to exceed a limit, and where it no longer does."""

    def __init__(self, view: FeatureView, states: Sequence[WindowState], alarms: Alarms) -> None:
        assert isinstance(view.emit, OnThreshold)
        self._states, self._alarms = states, alarms
        self._feature, self._limit = view.emit.feature, view.emit.limit
        self._leading = next(
            i for i, s in enumerate(states) if any(r.name == self._feature for r in s.readings)
        )
        of = next(a.of for a in view.aggregates() if a.name == self._feature)
        self._only_events_raise = isinstance(of, (Count, Max))

    def advance(self, chunk: Chunk, due: Int, after: int, until: int) -> Points:
        order = np.argsort(chunk.indices, kind="stable")
        indices, times = chunk.indices[order], chunk.times[order]
        all_works = works(self._states, chunk, order)
        work, state, alarms = all_works[self._leading], self._states[self._leading], self._alarms
        rows = work.at_events()
        above = self._above(state, rows)
        watched = np.unique(indices)
        if self._only_events_raise:
            watched = np.unique(np.concatenate([indices[above], watched[alarms.above[watched]]]))
        watched = np.union1d(watched, due)
        more_indices, more_times = self._losses(work, watched, (indices, times), (after, until))
        if len(more_indices):
            more, filled = work.query(more_indices, more_times)
            above = np.concatenate([above, self._above(state, more) & filled])
        indices = np.concatenate([indices, more_indices])
        times = np.concatenate([times, more_times])
        events = np.concatenate([order, np.full(len(more_indices), -1)])
        by = np.lexsort((events, times, indices))
        indices, times, events, above = indices[by], times[by], events[by], above[by]
        first = np.append(True, indices[1:] != indices[:-1])[: len(indices)]
        was = np.append(False, above[:-1])[: len(indices)]
        was[first] = alarms.above[indices[first]]
        last = np.append(first[1:], True)[: len(indices)]
        alarms.above[indices[last]] = above[last]
        self._set_alarms(work, watched, until)
        changed = np.flatnonzero(above != was)
        found = self._aggregates(all_works, indices[changed], times[changed], events[changed], order)
        for each in all_works:
            each.commit()
        return Points(indices[changed], times[changed], events[changed], found)

    def _above(self, state: WindowState, rows: NDArray[Any]) -> NDArray[np.bool_]:
        values = state.values(rows)[self._feature]
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
        return numbers > self._limit

    def _losses(
        self, work: Work, watched: Int, events: tuple[Int, Int], between: tuple[int, int]
    ) -> tuple[Int, Int]:
        """Row index and time of each loss of a tile in `(after, until]` at which none of `events` comes."""
        if not len(watched):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        of, at = self._gone(work, watched)
        there = (at > between[0]) & (at <= between[1])
        of, at = of[there], at[there]
        known = set(zip(*(e.tolist() for e in events), strict=True)) if len(of) else set()
        pairs = sorted(set(zip(of.tolist(), at.tolist(), strict=True)) - known)
        found = np.array(pairs, np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def _gone(self, work: Work, watched: Int) -> tuple[Int, Int]:
        store = self._states[self._leading].store
        assert isinstance(store, Tiles)
        of, tiles = work.flat(watched).tiles
        return of, store.grid.gone(tiles)

    def _set_alarms(self, work: Work, watched: Int, until: int) -> None:
        alarms = self._alarms
        alarms.at[watched] = NEVER
        keep = watched[alarms.above[watched]] if self._only_events_raise else watched
        if len(keep):
            of, at = self._gone(work, keep)
            later = at > until
            np.minimum.at(alarms.at, of[later], at[later])

    def _aggregates(
        self, all_works: Sequence[Work], indices: Int, times: Int, events: Int, order: Int
    ) -> dict[str, pa.Array]:
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        at_event = events >= 0
        found: dict[str, pa.Array] = {}
        for state, work in zip(self._states, all_works, strict=True):
            rows = state.layout.rows(len(indices))
            if at_event.any():
                rows[at_event] = work.at_events()[back[events[at_event]]]
            if not at_event.all():
                rows[~at_event] = work.query(indices[~at_event], times[~at_event])[0]
            found |= state.values(rows)
        return found


class AtWindowEnds:
    """A row for each tumbling or sliding window that has events."""

    def __init__(self, states: Sequence[WindowState], alarms: Alarms) -> None:
        self._states, self._alarms = states, alarms

    def advance(self, chunk: Chunk, due: Int, after: int, until: int) -> Points:
        order = np.argsort(chunk.indices, kind="stable")
        all_works = works(self._states, chunk, order)
        watched = np.union1d(chunk.indices, due)
        store = self._states[0].store
        assert isinstance(store, Tiles)
        of, tiles = all_works[0].flat(watched).tiles
        # Windows end at the last millisecond of a tile: of tile k those of the tiles k to k + back.
        size, back = store.grid.size, store.grid.back
        begun = (after + 1) // size if after > NONE else NONE
        ended = (until + 1) // size - 1 if until < NEVER else NEVER - 1
        low, high = np.maximum(tiles, begun), np.minimum(tiles + back, ended)
        count = np.maximum(high - low + 1, 0)
        step = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        pairs = np.unique(np.stack([np.repeat(of, count), np.repeat(low, count) + step]), axis=1)
        indices, times = pairs[0], (pairs[1] + 1) * size - 1
        found: dict[str, pa.Array] = {}
        for state, work in zip(self._states, all_works, strict=True):
            found |= state.values(work.query(indices, times)[0])
            work.commit()
        self._alarms.at[watched] = NEVER
        alive = tiles + back > ended
        np.minimum.at(self._alarms.at, of[alive], (np.maximum(tiles[alive], ended + 1) + 1) * size - 1)
        return Points(indices, times, np.full(len(indices), -1), found)


class AtSessionEnds:
    """A row for each session that has ended."""

    def __init__(self, states: Sequence[WindowState], alarms: Alarms) -> None:
        self._states, self._alarms = states, alarms

    def advance(self, chunk: Chunk, due: Int, after: int, until: int) -> Points:
        order = np.argsort(chunk.indices, kind="stable")
        indices, times = chunk.indices[order], chunk.times[order]
        watched = np.union1d(indices, due)
        found: dict[str, pa.Array] = {}
        ended = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for index, state in enumerate(self._states):
            assert isinstance(state.store, Sessions)
            of, at, rows = state.store.advance(indices, times, chunk.rows[index][order], due, until)
            ended, found = (of, at), found | state.values(rows)
            ends = state.store.ends(watched)
        self._alarms.at[watched] = np.where(ends < NONE // 2, NEVER, ends)
        return Points(ended[0], ended[1], np.full(len(ended[0]), -1), found)


def works(states: Sequence[WindowState], chunk: Chunk, order: Int) -> list[Work]:
    """The events, sorted by row index, against each window."""
    indices, times = chunk.indices[order], chunk.times[order]
    found = []
    for state, rows in zip(states, chunk.rows, strict=True):
        assert isinstance(state.store, Tiles)
        found.append(state.store.evaluate(indices, times, rows[order]))
    return found
