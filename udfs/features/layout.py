"""Partials of many entities and tiles as rows of one matrix, and what is done with whole matrices of them.

A row has one word for each field of each group: int64, with float64 fields seen through a view of the same
bits; or Python objects, for aggregations without fixed size.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from udfs.features.base import Fields

_CELLS = 1 << 18  # rows gathered at once
_ROUNDS = 8
"""Runs are combined side by side, event by event; few that go on for longer are combined each by itself."""


@dataclass(frozen=True)
class Group:
    """What is combined together. Groups of equal `key` are one, however many features read them.

    `lift(batch)` gives the fields of n events, `merge` those of n pairs (earlier, later). With `ufuncs` each
    field is combined by itself, and `merge` must do the same. `objects`: the one field holds Python objects,
    None being the identity, which `pack` and `unpack` turn to bytes.
    """

    key: Hashable
    dtypes: tuple[type, ...]
    identity: tuple[Any, ...]
    lift: Callable[[pa.RecordBatch], Fields]
    merge: Callable[[Fields, Fields], Fields]
    ufuncs: tuple[np.ufunc, ...] = ()
    pack: Callable[[Any], bytes] | None = None
    unpack: Callable[[bytes], Any] | None = None

    @property
    def objects(self) -> bool:
        return self.dtypes[0] is object


class Layout:
    """Where each group's fields are in a row. All groups have objects, or none."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = tuple(groups)
        self.dtype = np.dtype(object if self.groups[0].objects else np.int64)
        self._first = np.cumsum([0, *(len(g.dtypes) for g in self.groups)]).tolist()
        self.width = self._first[-1]
        self.identity = self.rows(1)[0]

    def rows(self, n: int) -> NDArray[Any]:
        """n rows of identities."""
        made = np.empty((n, self.width), self.dtype)
        for index, group in enumerate(self.groups):
            for field, value in zip(self.fields(made, index), group.identity, strict=True):
                field[...] = value
        return made

    def fields(self, rows: NDArray[Any], index: int) -> Fields:
        """Views of group `index`, each of the shape of `rows` without its last axis."""
        first, group = self._first[index], self.groups[index]
        return [
            rows[..., first + i] if t is object else rows[..., first + i].view(t)
            for i, t in enumerate(group.dtypes)
        ]

    def lift(self, batch: pa.RecordBatch) -> NDArray[Any]:
        rows = np.empty((batch.num_rows, self.width), self.dtype)
        for index, group in enumerate(self.groups):
            self._set(rows, index, group.lift(batch))
        return rows

    def merge(self, earlier: NDArray[Any], later: NDArray[Any]) -> NDArray[Any]:
        """Row by row; both of the same shape."""
        rows = np.empty_like(later)
        for index, group in enumerate(self.groups):
            merged = group.merge(self.fields(earlier, index), self.fields(later, index))
            self._set(rows, index, merged)
        return rows

    def fold(self, flat: NDArray[Any], low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[Any]:
        """For each of m pairs, the rows `low` to `high` (exclusive) of `flat` combined from left to right."""
        out = self.rows(len(low))
        length = high - low
        some = np.flatnonzero(length > 0)
        if not len(some):
            return out
        flat = np.concatenate([flat, self.identity[None]])
        order = some[np.argsort(-length[some], kind="stable")]
        at = 0
        while at < len(order):
            longest = int(length[order[at]])
            part = order[at : at + max(1, _CELLS // longest)]
            index = low[part] + np.arange(longest)[:, None]
            matrix = flat[np.where(index < high[part], index, len(flat) - 1)]
            out[part] = self._reduce(matrix)
            at += len(part)
        return out

    def cumulate(
        self, rows: NDArray[Any], starts: NDArray[np.int64], lengths: NDArray[np.int64], initial: NDArray[Any]
    ) -> NDArray[Any]:
        """For each row the rows of its run up to it, after the run's `initial` one, from left to right."""
        out = np.empty_like(rows)
        runs, so_far, step = np.arange(len(starts)), initial, 0
        longest = int(lengths.max(initial=0))
        while len(runs) and (step < _ROUNDS or len(runs) >= longest - step):
            at = starts[runs] + step
            so_far = self.merge(so_far, rows[at])
            out[at] = so_far
            step += 1
            more = lengths[runs] > step
            if not more.all():
                runs, so_far = runs[more], so_far[more]
        for run, first in zip(runs, so_far, strict=True):
            begin, end = starts[run] + step, starts[run] + lengths[run]
            out[begin:end] = self._scan(np.concatenate([first[None], rows[begin:end]]))[1:]
        return out

    def _scan(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Running combination along the first axis. `accumulate` goes strictly from left to right, which
        `reduce` does not promise."""
        out = np.empty_like(rows)
        for index, group in enumerate(self.groups):
            fields, target = self.fields(rows, index), self.fields(out, index)
            if group.ufuncs:
                for ufunc, field, to in zip(group.ufuncs, fields, target, strict=True):
                    ufunc.accumulate(field, axis=0, out=to)
                continue
            so_far = [f[:1] for f in fields]
            for to, field in zip(target, so_far, strict=True):
                to[:1] = field
            for i in range(1, len(rows)):
                so_far = group.merge(so_far, [f[i : i + 1] for f in fields])
                for to, field in zip(target, so_far, strict=True):
                    to[i : i + 1] = field
        return out

    def _reduce(self, matrix: NDArray[Any]) -> NDArray[Any]:
        return self._scan(matrix)[-1] if len(matrix) > 1 else matrix[0]

    def _set(self, rows: NDArray[Any], index: int, values: Fields) -> None:
        for to, value in zip(self.fields(rows, index), values, strict=True):
            to[...] = value
