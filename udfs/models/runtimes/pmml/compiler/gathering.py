"""Numbers of many fields at once: in a small micro-batch what numpy takes to begin is most of the time.

What is computed is the same to the bit as field by field. It is done for plain numbers of the record, and for
fields derived of one by sums, differences, products and quotients with constants, as scalers are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Column, some

Operation = Callable[[NDArray, NDArray], NDArray]
_EXACT = (np.add, np.subtract, np.multiply, np.divide)


@dataclass(frozen=True, slots=True)
class AsItIs:
    """Computes a real field of the record of which any value will do. NaN has been taken for missing before.
    `otherwise` computes it where the record holds no real."""

    name: str
    dtype: np.dtype
    otherwise: Compute

    def __call__(self, batch: Batch) -> Column:
        given = batch.inputs[self.name]
        if given.values.dtype == self.dtype:
            return given
        if given.values.dtype == np.float64:  # as records have float32, rounded once
            return Column(given.values.astype(self.dtype), given.missing)
        return self.otherwise(batch)


@dataclass(frozen=True, slots=True)
class WithConstant:
    """Computes an operation on a column and a number of the same type."""

    inner: Compute
    operation: Operation
    by: NDArray

    def __call__(self, batch: Batch) -> Column:
        column = self.inner(batch)
        return Column(self.operation(column.values, self.by), column.missing)


class _Group:
    """Columns that come of fields of one type by the same operations, each with constants of its own."""

    def __init__(self, dtype: np.dtype, operations: Sequence[Operation]) -> None:
        self._dtype, self._operations = dtype, operations
        self.columns: list[int] = []
        self._names: list[str] = []
        self._constants: list[list[NDArray]] = [[] for _ in operations]
        self._rows: tuple[Mapping[str, int] | None, NDArray] = (None, np.empty(0, np.intp))

    def add(self, column: int, name: str, constants: Sequence[NDArray]) -> None:
        self.columns.append(column)
        self._names.append(name)
        for known, more in zip(self._constants, constants, strict=True):
            known.append(more)

    def ready(self) -> None:
        self._steps = [
            (operation, np.array(by)[:, None])
            for operation, by in zip(self._operations, self._constants, strict=True)
        ]

    def values(self, places: Mapping[str, int], reals: NDArray) -> NDArray | None:
        """`(columns, n)`; None where a number is not finite."""
        if self._rows[0] is not places:
            self._rows = (places, np.array([places[name] for name in self._names]))
        values = reals[self._rows[1]].astype(self._dtype, copy=False)
        for operation, by in self._steps:
            values = operation(values, by)
        return values if not self._steps or not some(~np.isfinite(values)) else None


class Gather:
    """Which of some symbols can be computed at once, None standing for one that cannot."""

    def __init__(self, symbols: Sequence[Symbol | None]) -> None:
        self._every = range(len(symbols))
        self._others: list[int] = []
        groups: dict[tuple[np.dtype, tuple[Operation, ...]], _Group] = {}
        for column, symbol in enumerate(symbols):
            found = None if symbol is None else _origin(symbol)
            if found is None:
                self._others.append(column)
                continue
            field, steps = found
            key = (field.dtype, tuple(operation for operation, _ in steps))
            group = groups.setdefault(key, _Group(*key))
            group.add(column, field.name, [by for _, by in steps])
        self._groups = list(groups.values())
        for group in self._groups:
            group.ready()

    def fill(self, batch: Batch, x: NDArray) -> Sequence[int]:
        """Put what can be computed at once into the columns of `x` `(n, symbols)`; those that are left."""
        if batch.reals is None:
            return self._every
        for group in self._groups:
            values = group.values(*batch.reals)
            if values is None:
                return self._every
            x[:, group.columns] = values.T
        return self._others


def _origin(symbol: Symbol) -> tuple[AsItIs, list[tuple[Operation, NDArray]]] | None:
    """The field that a symbol is made of, and by which steps; None where there is more to it."""
    compute: Compute = symbol.compute
    steps: list[tuple[Operation, NDArray]] = []
    while isinstance(compute, WithConstant):
        if compute.operation not in _EXACT:
            return None
        steps.append((compute.operation, compute.by))
        inner: object = compute.inner
        of_symbol = isinstance(inner, MethodType) and isinstance(inner.__self__, Symbol)
        compute = inner.__self__.compute if of_symbol else compute.inner  # type: ignore[attr-defined]
    return (compute, steps[::-1]) if isinstance(compute, AsItIs) else None
