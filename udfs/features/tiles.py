"""Windows made of tiles, for all entities in memory at once.

An entity has closed tiles, of which each is one row, and its newest tile, which is open. The combination of
the closed tiles in the window that ends in the open one is kept (`prefix`), so that an event in the open tile
costs two additions. When an entity opens another tile, its window is combined anew, from the oldest tile to
the newest: never by subtraction, which would let rounding errors grow.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StoreError
from udfs.features.layout import Layout

NONE = -(2**62)
"""The tile number of an entity that has none, and of times that never come before."""
_HEAD = struct.Struct("<qIB")
_WIDTHS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Grid:
    """Tile k holds `[k * size, (k + 1) * size)` ms. A window whose end is in tile k has the tiles from
    `k - back` to k. Exact windows have tiles of one millisecond."""

    size: int
    back: int

    def gone(self, tile: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first time at which a window no longer holds `tile`."""
        return (tile + self.back + 1) * self.size


class Tiles:
    """State by row index (where an entity stands in the arrays)."""

    def __init__(self, layout: Layout, grid: Grid) -> None:
        self.layout, self.grid = layout, grid
        self.open_tile = np.zeros(0, np.int64)
        self._stale = np.zeros(0, bool)
        self._open = self._prefix = layout.rows(0)
        self._tiles: list[NDArray[np.int64]] = []
        self._closed: list[NDArray[Any]] = []

    def grow(self, count: int) -> None:
        more = count - len(self._tiles)
        self.open_tile = np.concatenate([self.open_tile, np.full(more, NONE)])
        self._stale = np.concatenate([self._stale, np.zeros(more, bool)])
        self._open = np.concatenate([self._open, self.layout.rows(more)])
        self._prefix = np.concatenate([self._prefix, self.layout.rows(more)])
        self._tiles += [_NO_TILES] * more
        self._closed += [self.layout.rows(0)] * more

    def clear(self, row_index: int) -> None:
        self.open_tile[row_index], self._stale[row_index] = NONE, False
        self._tiles[row_index], self._closed[row_index] = _NO_TILES, self.layout.rows(0)

    def evaluate(self, indices: NDArray[np.int64], times: NDArray[np.int64], rows: NDArray[Any]) -> Work:
        """Events sorted by (row index, time, id). Nothing changes until `Work.commit`."""
        return Work(self, indices, times, rows)

    def empty_at(self, row_index: int) -> int:
        """From when on no window holds anything of it."""
        tile = self.open_tile[row_index]
        return NONE if tile == NONE else int(self.grid.gone(tile))

    def pack(self, row_index: int) -> bytes:
        """Tile numbers as differences in as few bytes as they need, then the rows as they are."""
        tile = int(self.open_tile[row_index])
        if tile == NONE:
            return b""
        tiles, closed, first = self._tiles[row_index], self._closed[row_index], tile - self.grid.back
        if len(tiles) and tiles[0] < first:
            gone = int(np.searchsorted(tiles, first))
            tiles, closed = tiles[gone:], closed[gone:]
        if not len(tiles):  # most entities that come again and again within a tile
            return _HEAD.pack(tile, 0, 1) + self._pack_rows(self._open[row_index : row_index + 1])
        steps = np.append(tiles[1:], tile) - tiles
        width = next(w for w in _WIDTHS if w == 8 or steps.max() < 1 << 8 * w)
        rows = np.concatenate([closed, self._open[row_index : row_index + 1]])
        head = _HEAD.pack(tile, len(steps), width) + steps.astype(f"<u{width}").tobytes()
        return head + self._pack_rows(rows)

    def unpack(self, row_index: int, data: bytes) -> None:
        """Raises `StoreError` where it was not packed by this layout."""
        if not data:
            return
        try:
            tile, count, width = _HEAD.unpack_from(data)
            at = _HEAD.size + count * width
            steps = np.frombuffer(data, f"<u{width}", count, _HEAD.size).astype(np.int64)
            rows = self._unpack_rows(data[at:], count + 1)
        except (struct.error, ValueError, TypeError) as e:
            raise StoreError(f"tiles of an entity cannot be read: {e}") from None
        self._tiles[row_index] = tile - np.cumsum(steps[::-1])[::-1]
        self._closed[row_index] = rows[:-1].copy()
        self.open_tile[row_index], self._open[row_index], self._stale[row_index] = tile, rows[-1], True

    def _pack_rows(self, rows: NDArray[Any]) -> bytes:
        if self.layout.dtype != object:
            return rows.astype("<i8", copy=False).tobytes()
        parts = []
        for row in rows:
            for group, value in zip(self.layout.groups, row, strict=True):
                assert group.pack is not None
                data = b"" if value is None else group.pack(value)
                parts.append(struct.pack("<i", -1 if value is None else len(data)) + data)
        return b"".join(parts)

    def _unpack_rows(self, data: bytes, count: int) -> NDArray[Any]:
        if self.layout.dtype != object:
            return np.frombuffer(data, "<i8").reshape(count, self.layout.width).astype(np.int64)
        rows, at = self.layout.rows(count), 0
        for row in rows:
            for index, group in enumerate(self.layout.groups):
                assert group.unpack is not None
                (length,) = struct.unpack_from("<i", data, at)
                at += 4 + max(0, length)
                if length >= 0:
                    row[index] = group.unpack(data[at - length : at])
        return rows


@dataclass(frozen=True)
class _Flat:
    """Tiles of some entities, sorted by (row index, tile); `key` is ascending and says where each is."""

    indices: NDArray[np.int64]
    base: int
    stride: int
    key: NDArray[np.int64]
    rows: NDArray[Any]

    def find(self, indices: NDArray[np.int64], tiles: NDArray[np.int64]) -> NDArray[np.int64]:
        rank = np.searchsorted(self.indices, indices)
        wanted = rank * self.stride + np.clip(tiles - self.base, 0, self.stride - 1)
        return np.searchsorted(self.key, wanted)

    @property
    def tiles(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row index and tile of each of `rows`."""
        rank, tile = np.divmod(self.key, self.stride)
        return self.indices[rank], tile + self.base


class Work:
    """Events of one chunk against the tiles before it."""

    def __init__(
        self, store: Tiles, indices: NDArray[np.int64], times: NDArray[np.int64], rows: NDArray[Any]
    ) -> None:
        self._store, self._indices, self._times = store, indices, times
        layout, tiles = store.layout, times // store.grid.size
        new = np.ones(len(indices), bool)
        new[1:] = (indices[1:] != indices[:-1]) | (tiles[1:] != tiles[:-1])
        starts = np.flatnonzero(new)
        self._run = np.cumsum(new) - 1
        self._run_index, self._run_tile = indices[starts], tiles[starts]
        lengths = np.diff(starts, append=len(indices))
        goes_on = store.open_tile[self._run_index] == self._run_tile
        initial = layout.rows(len(starts))
        initial[goes_on] = store._open[self._run_index[goes_on]]
        self._sums = layout.cumulate(rows, starts, lengths, initial) if len(starts) else rows
        self._final = self._sums[starts + lengths - 1]
        slow = ~goes_on | store._stale[self._run_index]
        self._moved = np.unique(self._run_index[slow])
        self._prefix = store._prefix[self._run_index]
        self._flat: _Flat | None = None
        if len(self._moved):
            self._flat = self.flat(self._moved)
            first = self._run_tile[slow] - store.grid.back
            self._prefix[slow] = self._between(self._flat, self._run_index[slow], first, self._run_tile[slow])

    def at_events(self) -> NDArray[Any]:
        """The window as of each event, that event being its last."""
        return self._store.layout.merge(self._prefix[self._run], self._sums)

    def newest(self) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
        """Of each row index, ascending: its last tile, what the window that ends there holds before it, and
        what the tile itself holds."""
        last = np.append(self._run_index[1:] != self._run_index[:-1], True)
        return self._run_tile[last], self._prefix[last], self._final[last]

    def flat(self, indices: NDArray[np.int64]) -> _Flat:
        """All tiles, the chunk's included, of `indices` (ascending, unique)."""
        store = self._store
        mine = np.isin(self._run_index, indices)
        run_index, run_tile = self._run_index[mine], self._run_tile[mine]
        begun = indices[store.open_tile[indices] != NONE]
        first = np.minimum(np.searchsorted(run_index, begun), max(len(run_index) - 1, 0))
        if len(run_index):
            again = (run_index[first] == begun) & (run_tile[first] == store.open_tile[begun])
            begun = begun[~again]
        lists = indices.tolist()
        counts = np.array([len(store._tiles[i]) for i in lists], np.int64)
        rank = np.concatenate([
            np.repeat(np.arange(len(indices)), counts),
            np.searchsorted(indices, begun),
            np.searchsorted(indices, run_index),
        ])  # fmt: skip
        tiles = np.concatenate([*(store._tiles[i] for i in lists), store.open_tile[begun], run_tile])
        rows = np.concatenate([*(store._closed[i] for i in lists), store._open[begun], self._final[mine]])
        base = int(tiles.min()) if len(tiles) else 0
        stride = int(tiles.max()) - base + 2 if len(tiles) else 1
        key = rank * stride + (tiles - base)
        order = np.argsort(key, kind="stable")
        return _Flat(indices, base, stride, key[order], rows[order])

    def query(
        self, indices: NDArray[np.int64], at: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The window of `indices` that ends at `at`, of events up to then; and whether it holds a tile."""
        store, unique = self._store, np.unique(indices)
        flat = self.flat(unique)
        last = _last_before(self._indices, self._times, indices, at)
        some = last >= 0
        run = self._run[last] if len(self._run) else np.zeros(len(indices), np.int64)
        tile, base = store.open_tile[indices], store._open[indices]
        if len(self._run):
            tile = np.where(some, self._run_tile[run], tile)
            base = np.where(some[:, None], self._sums[last], base)
        first = at // store.grid.size - store.grid.back
        rows = store.layout.merge(self._between(flat, indices, first, np.maximum(tile, first)), base)
        filled = tile >= first
        rows[~filled] = store.layout.identity
        return rows, filled

    def commit(self) -> None:
        store = self._store
        last = np.append(self._run_index[1:] != self._run_index[:-1], True)[: len(self._run_index)]
        indices, tile = self._run_index[last], self._run_tile[last]
        store.open_tile[indices], store._open[indices] = tile, self._final[last]
        store._prefix[indices], store._stale[indices] = self._prefix[last], False
        if self._flat is None:
            return
        moved = np.isin(indices, self._moved)
        indices, tile = indices[moved], tile[moved]
        low = self._flat.find(indices, tile - store.grid.back)
        high = self._flat.find(indices, tile)
        tiles, rows = self._flat.tiles[1], self._flat.rows
        for row_index, i, j in zip(indices.tolist(), low.tolist(), high.tolist(), strict=True):
            store._tiles[row_index], store._closed[row_index] = tiles[i:j].copy(), rows[i:j].copy()

    def _between(
        self, flat: _Flat, indices: NDArray[np.int64], first: NDArray[np.int64], before: NDArray[np.int64]
    ) -> NDArray[Any]:
        """Tiles from `first` up to, but not including, `before`."""
        return self._store.layout.fold(flat.rows, flat.find(indices, first), flat.find(indices, before))


def _last_before(
    indices: NDArray[np.int64], times: NDArray[np.int64], of: NDArray[np.int64], at: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Where the last of the sorted (row index, time) is that is of `of` and not after `at`; or -1."""
    if not len(indices):
        return np.full(len(of), -1)
    base = int(times.min())
    stride = int(times.max()) - base + 2
    key = indices * stride + (times - base) + 1
    index = np.searchsorted(key, of * stride + np.clip(at - base + 1, 0, stride - 1), side="right") - 1
    return np.where((index >= 0) & (indices[index] == of), index, -1)


_NO_TILES = np.zeros(0, np.int64)
