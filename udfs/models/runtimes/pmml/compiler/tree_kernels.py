"""Walking the trees of an ensemble: the loops that take the time, compiled by numba where it is installed.

Without numba the same walk is done level by level with numpy, slower and to the same bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tests:
    """A graph of tests as arrays; see `tree_graph`. Test k asks feature `asks[k]` against `constants[k]`.

    `sets`: the members of the sets that tests of kind AMONG ask, one behind the other; the constant of such a
    test is its set's number, `bounds` where each set begins and ends.
    """

    operators: NDArray[np.int8]
    asks: NDArray[np.int32]
    constants: NDArray[np.float64]
    yes: NDArray[np.int32]
    no: NDArray[np.int32]
    unknown: NDArray[np.int32]
    roots: NDArray[np.int32]
    sets: NDArray[np.float64]
    bounds: NDArray[np.int64]

    def arrays(self) -> tuple[NDArray, ...]:
        return (self.operators, self.asks, self.constants, self.yes, self.no, self.unknown, self.roots,
                self.sets, self.bounds)  # fmt: skip


def _walk(x, operators, asks, constants, yes, no, unknown, sets, bounds, at):  # noqa: PLR0917
    """The leaf where one row `(features,)` ends in one tree. Compiled by numba, so without types."""
    while at >= 0:
        value = x[asks[at]]
        kind = operators[at]
        if value != value:  # noqa: PLR0124 - NaN: the value is missing
            at = yes[at] if kind == 3 else unknown[at]
        elif kind == 0:
            at = yes[at] if value <= constants[at] else no[at]
        elif kind == 1:
            at = yes[at] if value == constants[at] else no[at]
        elif kind == 2:
            which = int(constants[at])
            found = False
            for k in range(bounds[which], bounds[which + 1]):
                if sets[k] == value:
                    found = True
                    break
            at = yes[at] if found else no[at]
        else:
            at = no[at]
    return -1 - at


def _compiled(walk):
    """The loops around `walk`: which leaf each row reaches in each tree, and sums over the trees."""

    def leaves(x, operators, asks, constants, yes, no, unknown, roots, sets, bounds):  # noqa: PLR0917
        out = np.empty((x.shape[0], roots.shape[0]), np.int32)
        for tree in range(roots.shape[0]):
            for row in range(x.shape[0]):
                out[row, tree] = walk(
                    x[row], operators, asks, constants, yes, no, unknown, sets, bounds, roots[tree]
                )
        return out

    def sums(x, operators, asks, constants, yes, no, unknown, roots, sets, bounds, values, weights, out):  # noqa: PLR0917
        for tree in range(roots.shape[0]):
            for row in range(x.shape[0]):
                leaf = walk(x[row], operators, asks, constants, yes, no, unknown, sets, bounds, roots[tree])
                for k in range(values.shape[1]):
                    out[row, k] += values[leaf, k] * weights[tree]

    return leaves, sums


@lru_cache(maxsize=1)
def _numba_loops() -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """The loops as machine code, made once a process and kept on disk; None where numba is not installed."""
    try:
        import numba  # noqa: PLC0415 - half a second, for those who load trees
    except ImportError:
        return None
    walk = numba.njit(inline="always")(_walk)
    leaves, sums = _compiled(walk)
    try:
        return numba.njit(leaves, cache=True), numba.njit(sums, cache=True)
    except RuntimeError:  # there is no folder in which machine code may be kept
        return numba.njit(leaves), numba.njit(sums)


def find_leaves(x: NDArray[np.float64], tests: Tests) -> NDArray[np.int32]:
    """The leaf of each row `(n, features)` in each tree, `(n, trees)`. NaN is missing."""
    loops = _numba_loops()
    return find_leaves_numpy(x, tests) if loops is None else loops[0](x, *tests.arrays())


def sum_leaves(x: NDArray[np.float64], tests: Tests, values: NDArray, weights: NDArray) -> NDArray:
    """`(n, k)`: over the trees, in order, the sum of `values[leaf] * weights[tree]`, in their type."""
    loops = _numba_loops()
    if loops is None:
        return sum_leaves_numpy(x, tests, values, weights)
    out = np.zeros((len(x), values.shape[1]), values.dtype)
    loops[1](x, *tests.arrays(), values, weights, out)
    return out


def sum_leaves_numpy(x: NDArray[np.float64], tests: Tests, values: NDArray, weights: NDArray) -> NDArray:
    """As `sum_leaves`, without numba."""
    leaves = find_leaves_numpy(x, tests)
    out = np.zeros((len(x), values.shape[1]), values.dtype)
    for tree in range(leaves.shape[1]):
        out += values[leaves[:, tree]] * weights[tree]
    return out


def find_leaves_numpy(x: NDArray[np.float64], tests: Tests) -> NDArray[np.int32]:
    """As `find_leaves`, without numba: all rows in all trees one level at a time."""
    count, trees = len(x), len(tests.roots)
    state = np.tile(tests.roots, count)
    row = np.repeat(np.arange(count), trees)
    going = np.flatnonzero(state >= 0)
    with np.errstate(invalid="ignore"):
        while len(going):
            at = state[going]
            value, constant, kind = x[row[going], tests.asks[at]], tests.constants[at], tests.operators[at]
            hit = np.where(kind == 0, value <= constant, value == constant)
            missing = np.isnan(value)
            hit[kind == 3] = missing[kind == 3]
            for k in np.flatnonzero(kind == 2):
                begin, end = tests.bounds[int(constant[k])], tests.bounds[int(constant[k]) + 1]
                hit[k] = (tests.sets[begin:end] == value[k]).any()
            following = np.where(hit, tests.yes[at], tests.no[at])
            lost = missing & (kind != 3)
            following[lost] = tests.unknown[at[lost]]
            state[going] = following
            going = going[following >= 0]
    return (-1 - state).reshape(count, trees).astype(np.int32)
