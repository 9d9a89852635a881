"""Trees ready to be walked: the graph's tests as arrays, and the micro-batch as a matrix of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.gathering import Gather
from udfs.models.runtimes.pmml.compiler.tree_graph import AMONG, AT_MOST, EQUAL, TreeGraph, is_integer_like
from udfs.models.runtimes.pmml.compiler.tree_kernels import Tests, find_leaves, sum_leaves
from udfs.models.runtimes.pmml.compiler.types import Type

_NEVER = -1.0
_BOUND = 2**63
Encode = Callable[[Any], float]
Numbers = Callable[[Column, int], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees over shared features. `numbers[k]` brings feature k's column to numbers that tests can ask.

    `rounded`: reals are asked as the float32 nearest to them.
    """

    tests: Tests
    symbols: tuple[Symbol, ...]
    numbers: tuple[Numbers, ...]
    rounded: bool
    gather: Gather

    def matrix(self, batch: Batch) -> NDArray[np.float64]:
        """`(n, features)`, NaN where a value is missing. Rows with an undefined number are refused."""
        x = np.empty((batch.count, max(len(self.symbols), 1)))
        for k in range(len(self.symbols)) if self.rounded else self.gather.fill(batch, x):
            symbol, numbers = self.symbols[k], self.numbers[k]
            column = symbol.known(batch)
            x[:, k] = numbers(column, batch.count)
            if self.rounded and symbol.kind is Type.DOUBLE:
                x[:, k] = x[:, k].astype(np.float32)
            if column.missing is not None:
                x[column.mask(batch.count), k] = np.nan
        return x

    def leaves(self, batch: Batch) -> NDArray[np.int32]:
        """`(n, trees)`: the leaf that each row reaches."""
        return find_leaves(self.matrix(batch), self.tests)

    def sums(self, batch: Batch, values: NDArray, weights: NDArray) -> NDArray:
        """`(n, k)`: sums over the trees of `values[leaf] * weights[tree]`."""
        return sum_leaves(self.matrix(batch), self.tests, values, weights)


def plant(graph: TreeGraph, roots: list[int]) -> Forest:
    """A forest of the graph's tests."""
    encoders: list[Encode] = []
    numbers: list[Numbers] = []
    for k, feature in enumerate(graph.features):
        encode, number = _encoding(graph, k, feature.symbol.kind)
        encoders.append(encode)
        numbers.append(number)
    members: list[float] = []
    bounds = [0]
    known: dict[tuple[int, frozenset], int] = {}
    constants = np.zeros(max(len(graph.operators), 1))
    for k, (operator, at, value) in enumerate(zip(graph.operators, graph.asks, graph.constants, strict=True)):
        if operator == AT_MOST:
            kind = graph.features[at].symbol.kind
            constants[k] = encoders[at](value) if is_integer_like(kind) else value
        elif operator == EQUAL:
            constants[k] = encoders[at](value)
        elif operator == AMONG:
            key = (at, value)
            if key not in known:
                known[key] = len(bounds) - 1
                members.extend(sorted(encoders[at](v) for v in value))
                bounds.append(len(members))
            constants[k] = known[key]

    def ints(values: list[int]) -> NDArray[np.int32]:
        return np.array(values or [0], np.int32)

    tests = Tests(
        np.array(graph.operators or [0], np.int8), ints(graph.asks), constants, ints(graph.yes),
        ints(graph.no), ints(graph.unknown), np.array(roots, np.int32), np.array(members or [0.0]),
        np.array(bounds, np.int64),
    )  # fmt: skip
    symbols = tuple(f.symbol for f in graph.features)
    return Forest(tests, symbols, tuple(numbers), graph.rounded, Gather(symbols))


def _encoding(graph: TreeGraph, at: int, kind: Type) -> tuple[Encode, Numbers]:
    """How constants and columns of a feature become numbers that compare as the values do."""
    if kind is Type.STRING:
        return _texts(graph.features[at].codes)
    if is_integer_like(kind):
        return _ranks(graph, at)
    return float, lambda column, count: column.values


def _texts(codes: dict[str, int]) -> tuple[Encode, Numbers]:
    """Texts are numbered; one that stands in no test is -1, and equal to none of them."""

    def encode(value: str) -> float:
        return float(codes.setdefault(value, len(codes)))

    def numbers(column: Column, count: int) -> NDArray[np.float64]:
        values = column.full(count)
        return np.fromiter((codes.get(v, -1) for v in values), np.float64, count)

    return encode, numbers


def _ranks(graph: TreeGraph, at: int) -> tuple[Encode, Numbers]:
    """Integers by where they stand among the constants, since a double does not hold all 64 bits.

    The k-th constant is 2k + 1; a value between two constants is the even number between theirs.
    """
    found: set[int] = set()
    for asked, value in zip(graph.asks, graph.constants, strict=True):
        if asked == at:
            values = value if isinstance(value, frozenset) else [value]
            found.update(int(v) for v in values if v is not None and v == int(v) and -_BOUND <= v < _BOUND)
    ordered = sorted(found)
    places = {value: 2.0 * k + 1.0 for k, value in enumerate(ordered)}
    constants = np.array(ordered, np.int64)

    def encode(value: Any) -> float:
        if not -_BOUND <= value < _BOUND:  # below or above all that there are
            return _NEVER if value < 0 else 2.0 * len(ordered) + 1.0
        return places[int(value)] if value == int(value) else _NEVER

    def numbers(column: Column, count: int) -> NDArray[np.float64]:
        values = column.full(count)
        below = np.searchsorted(constants, values, side="left")
        up_to = np.searchsorted(constants, values, side="right")
        return (below + up_to).astype(np.float64)

    return encode, numbers
