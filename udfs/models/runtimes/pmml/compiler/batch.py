"""The state of one call: the columns of a micro-batch, and what has been computed from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.columns import Column, Mask, some
from udfs.models.runtimes.pmml.compiler.types import Type

T = TypeVar("T")
Reals = tuple[Mapping[str, int], NDArray[np.float64]]
_AT_ONCE = 4_000_000


def slices(count: int, width: int) -> Iterator[slice]:
    """Parts of `count` rows, each so short that tables of `width` numbers a row stay small in memory."""
    step = max(1, _AT_ONCE // width)
    for start in range(0, count, step):
        yield slice(start, start + step)


@dataclass(slots=True)
class Batch:
    """`inputs`: field name -> column as the record gave it. `refused`: reason -> the rows it holds for.

    `memory`: what has been computed in this call, by the object that computed it. `caused`: the rows that
    were refused for it, where it was computed for some rows only (`within`; `partial` meanwhile). `reals`:
    all real fields of the record at once, `(fields, count)` of float64 and finite, with the row of each name;
    None where they are not, or where it is not worth it.
    """

    count: int
    inputs: Mapping[str, Column]
    refused: dict[str, Mask] = field(default_factory=dict)
    memory: dict[int, Any] = field(default_factory=dict)
    reals: Reals | None = None
    caused: dict[int, dict[str, Mask]] = field(default_factory=dict)
    partial: bool = False

    def refuse(self, rows: Mask, reason: str) -> None:
        """Say that the rows cannot be scored."""
        if rows.any():
            before = self.refused.get(reason)
            self.refused[reason] = rows.copy() if before is None else before | rows

    def within(self, rows: Mask | Callable[[], Mask] | None, compute: Callable[[Batch], T]) -> T:
        """What is computed for some rows only, None for all: no other row is refused for it. `rows` may be
        what makes them, asked where a row was refused at all."""
        if rows is None:
            return compute(self)
        found, refused = self._apart(compute)
        if refused:
            kept = rows() if callable(rows) else rows
            for reason, lost in refused.items():
                self.refuse(lost & kept, reason)
        return found

    def once(self, of: object, compute: Callable[[Batch], T]) -> T:
        """What `of` computes, once a call; rows that are refused for it are so wherever it is asked for."""
        if id(of) not in self.memory:
            self.memory[id(of)], refused = self._apart(compute)
            if refused:
                self.caused[id(of)] = refused
        for reason, lost in self.caused.get(id(of), {}).items():
            self.refuse(lost, reason)
        found: T = self.memory[id(of)]
        return found

    def _apart(self, compute: Callable[[Batch], T]) -> tuple[T, dict[str, Mask]]:
        """What is computed, and the rows refused meanwhile."""
        before, self.refused = self.refused, {}
        partial, self.partial = self.partial, True
        try:
            return compute(self), self.refused
        finally:
            self.refused, self.partial = before, partial


Compute = Callable[[Batch], Column]
Rows = Callable[[Batch], Mask]


class Symbol:
    """A named value of the plan: an input, a derived field, an output of a model.

    `depth`: how many symbols deep it rests on others; recursion at scoring is bounded by it. `strict`: it is
    what a function makes of single values, so that what adds up several is missing where it is (a product
    with the power of a missing value, as in scikit-learn). `invalid`: the rows whose value is invalid and was
    left as it is; None where there can be none.
    """

    __slots__ = ("categories", "compute", "depth", "invalid", "kind", "name", "optype", "strict")

    def __init__(  # noqa: PLR0917
        self, name: str, kind: Type, compute: Compute, optype: str = "", depth: int = 0,
        categories: tuple[Any, ...] = (), strict: bool = False, invalid: Rows | None = None,
    ) -> None:  # fmt: skip
        self.name, self.kind, self.optype, self.depth = name, kind, optype, depth
        self.categories, self.strict, self.invalid = categories, strict, invalid
        self.compute = compute

    def known(self, batch: Batch) -> Column:
        """As `column`, for what looks at a value instead of computing with it: a row in which a function
        had no result (NaN, as the logarithm of -1) is refused."""
        column = self.column(batch)
        if self.depth and self.kind.real:
            key = ~id(self)
            if key not in batch.memory:
                batch.memory[key] = undefined_rows(column, batch.count)
            if (lost := batch.memory[key]) is not None:
                batch.refuse(lost, f"the field {self.name!r} has no value")
        return column

    def column(self, batch: Batch) -> Column:
        """The values, computed once a call."""
        if batch.partial or batch.caused:
            return batch.once(self, self.compute)
        memory = batch.memory
        found = memory.get(id(self))
        if found is None:  # here and not by `once`, which is one call more of each level
            found = memory[id(self)] = self.compute(batch)
        return found


def undefined_rows(column: Column, count: int) -> Mask | None:
    """The rows of a column of reals that hold NaN and are not missing; None: there is none."""
    undefined = np.isnan(column.values)
    if not some(undefined):
        return None
    return full_mask(undefined if column.missing is None else undefined & ~column.missing, count)


def full_mask(mask: Mask | None, count: int) -> Mask:
    if mask is None:
        return np.zeros(count, bool)
    return mask if np.ndim(mask) else np.full(count, bool(mask))
