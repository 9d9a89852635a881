"""Session windows of all entities in memory: at most one session of each is open."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.features.layout import Layout
from udfs.features.tiles import NONE, Grid, Tiles

_HEAD = struct.Struct("<q")


class Sessions:
    """State by row index: the time of the open session's last event, and its row."""

    def __init__(self, layout: Layout, gap: int) -> None:
        self.layout, self.gap = layout, gap
        self._last = np.zeros(0, np.int64)
        self._open = layout.rows(0)

    def grow(self, count: int) -> None:
        more = count - len(self._last)
        self._last = np.concatenate([self._last, np.full(more, NONE)])
        self._open = np.concatenate([self._open, self.layout.rows(more)])

    def clear(self, row_index: int) -> None:
        self._last[row_index] = NONE

    def ends(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The last millisecond of the open sessions; that of none is far in the past."""
        return self._last[indices] + self.gap - 1

    def advance(
        self, indices: NDArray[np.int64], times: NDArray[np.int64], rows: NDArray[Any],
        due: NDArray[np.int64], watermark: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:  # fmt: skip
        """Events sorted by (row index, time, id). Gives the sessions that have ended by `watermark`: row
        index, last millisecond, row. `due`: row indices whose open session may have ended without an event.
        """
        new = np.ones(len(indices), bool)
        new[1:] = (indices[1:] != indices[:-1]) | (times[1:] - times[:-1] >= self.gap)
        starts = np.flatnonzero(new)
        lengths = np.diff(starts, append=len(indices))
        of, begin, end = indices[starts], times[starts], times[starts + lengths - 1]
        first = np.append(True, of[1:] != of[:-1])[: len(of)]
        goes_on = first & (begin - self._last[of] < self.gap)
        initial = self.layout.rows(len(starts))
        initial[goes_on] = self._open[of[goes_on]]
        final = (
            self.layout.cumulate(rows, starts, lengths, initial)[starts + lengths - 1] if len(of) else rows
        )
        ended = np.union1d(due, of[first & ~goes_on])
        ended = np.setdiff1d(ended[self._last[ended] != NONE], of[goes_on])
        ended = ended[self.ends(ended) <= watermark]
        last = np.append(of[1:] != of[:-1], True)[: len(of)]
        closed = ~last | (end + self.gap - 1 <= watermark)
        found = (
            np.concatenate([ended, of[closed]]),
            np.concatenate([self.ends(ended), end[closed] + self.gap - 1]),
            np.concatenate([self._open[ended], final[closed]]),
        )
        self._last[ended] = NONE
        self._last[of[last]] = np.where(closed[last], NONE, end[last])
        self._open[of[last]] = final[last]
        return found

    def empty_at(self, row_index: int) -> int:
        last = int(self._last[row_index])
        return NONE if last == NONE else last + self.gap

    def pack(self, row_index: int) -> bytes:
        if self._last[row_index] == NONE:
            return b""
        return _HEAD.pack(self._last[row_index]) + self._single(self._open[row_index]).pack(0)

    def unpack(self, row_index: int, data: bytes) -> None:
        """Raises `StoreError` where it was not packed by this layout."""
        if data:
            (self._last[row_index],) = _HEAD.unpack_from(data)
            one = self._single(self.layout.identity)
            one.unpack(0, data[_HEAD.size :])
            self._open[row_index] = one._open[0]

    def _single(self, row: NDArray[Any]) -> Tiles:
        """One row as a tile, whose format is used again."""
        one = Tiles(self.layout, Grid(1, 0))
        one.grow(1)
        one.open_tile[0], one._open[0] = 0, row
        return one
