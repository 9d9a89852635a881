"""Walking the trees of an ensemble: the loops that take the time, compiled by numba where it is installed.

Without numba the same walk is done level by level with numpy, slower and to the same bit.
"""

from __future__ import annotations

import importlib
import importlib.util
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


@lru_cache(maxsize=1)
def _loops() -> Any:
    """The module of compiled loops; None where numba is not installed."""
    if importlib.util.find_spec("numba") is None:
        return None
    # Here and not at the top: numba takes a second to import, and few processes load trees.
    return importlib.import_module(f"{__package__}.tree_loops")


def find_leaves(x: NDArray[np.float64], tests: Tests) -> NDArray[np.int32]:
    """The leaf of each row `(n, features)` in each tree, `(n, trees)`. NaN is missing."""
    loops = _loops()
    return find_leaves_numpy(x, tests) if loops is None else loops.leaves(x, *tests.arrays())


def sum_leaves(x: NDArray[np.float64], tests: Tests, values: NDArray, weights: NDArray) -> NDArray:
    """`(n, k)`: over the trees, in order, the sum of `values[leaf] * weights[tree]`, in their type."""
    loops = _loops()
    if loops is None:
        return sum_leaves_numpy(x, tests, values, weights)
    out = np.zeros((len(x), values.shape[1]), values.dtype)
    loops.sums(x, *tests.arrays(), values, weights, out)
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
