"""One field of a micro-batch in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.types import Type, parse, reach, shift, texts

Mask = NDArray[np.bool_]


@dataclass(slots=True)
class Column:
    """Values of one type, `(n,)` or `()` for a constant, and which of them are missing.

    `missing` is None where none is, else a mask that broadcasts with `values`. A value under the mask is
    arbitrary but valid for its type (a string column holds "" there).
    """

    values: NDArray
    missing: Mask | None = None

    def full(self, count: int) -> NDArray:
        """The values as `(count,)`."""
        return self.values if np.ndim(self.values) else np.full(count, self.values, self.values.dtype)

    def mask(self, count: int) -> Mask:
        """Which rows are missing, as `(count,)`."""
        if self.missing is None:
            return np.zeros(count, bool)
        return self.missing if np.ndim(self.missing) else np.full(count, self.missing)


def constant_column(value: Any, kind: Type) -> Column:
    """A constant; None is a missing one."""
    array = np.empty((), kind.numpy)
    if value is None:
        array[()] = "" if kind is Type.STRING else 0
        return Column(array, np.array(True))
    array[()] = value
    return Column(array)


def either(*masks: Mask | None) -> Mask | None:
    """The rows that are in any of the masks; None where all are None."""
    joined: Mask | None = None
    for mask in masks:
        if mask is not None:
            joined = mask if joined is None else joined | mask
    return joined


def any_missing(columns: Sequence[Column]) -> Mask | None:
    return either(*(c.missing for c in columns))


def some(mask: NDArray[np.bool_]) -> bool:
    """Whether any is true; of one row in a fifth of the time of `any`."""
    return bool(np.count_nonzero(mask))


def half_up(values: NDArray) -> NDArray:
    """To the nearest whole number, halves upwards. Not the floor of a sum with a half: that is rounded."""
    whole = np.floor(values)
    return np.where(values - whole >= 0.5, whole + 1, whole)


def fill(column: Column, value: Any) -> Column:
    """Missing values replaced by `value`, which is of the column's type."""
    if column.missing is None or not column.missing.any():
        return column
    if column.values.dtype == object:
        values = np.array(np.broadcast_to(column.values, column.missing.shape))
        values[column.missing] = value
        return Column(values)
    return Column(np.where(column.missing, np.asarray(value, column.values.dtype), column.values))


def cast(column: Column, source: Type, target: Type) -> Column:
    """Numbers and flags to numbers, and text to anything; what does not fit becomes missing.

    Reals to text must have been refused when the plan was made.
    """
    if source is target:
        return column
    if source is Type.STRING:
        given = [parse(v, target) for v in np.atleast_1d(column.values)]
        absent = np.array([v is None for v in given]).reshape(np.shape(column.values))
        values = np.array([0 if v is None else v for v in given], target.numpy).reshape(
            np.shape(column.values)
        )
        return Column(values, either(column.missing, absent if absent.any() else None))
    if target is Type.STRING:
        return Column(texts(column.values, source), column.missing)
    if target is Type.BOOLEAN:
        unfit = (column.values != 0) & (column.values != 1)
        return Column(column.values != 0, either(column.missing, unfit if unfit.any() else None))
    return _to_number(column, source, target)


def _to_number(column: Column, source: Type, target: Type) -> Column:
    """What is no text in a type of numbers. Where the two count from other starts, what is no moment of the
    other is missing."""
    if not target.real and column.values.dtype.kind == "f":
        return _to_integer(column)
    moved = 0 if target.real or target is Type.INTEGER else shift(source, target)
    if not moved and not target.temporal:
        return Column(np.asarray(column.values).astype(target.numpy), column.missing)
    low, high = reach(target)
    unfit = (column.values < low - moved) | (column.values > high - moved)
    values = np.where(unfit, 0, column.values + moved)
    return Column(values, either(column.missing, unfit if some(unfit) else None))


def _to_integer(column: Column) -> Column:
    """A real that is whole as an integer; a fraction is no value of an integer field."""
    fits = (np.abs(column.values) < 2.0**63) & (column.values == np.floor(column.values))
    safe = np.where(fits, column.values, 0)
    return Column(safe.astype(np.int64), column.missing if fits.all() else either(column.missing, ~fits))
