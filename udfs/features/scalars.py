"""Counts, sums, extremes and moments, as groups of fields (see `layout`).

A null adds nothing to any of them. NaN is a value: it makes sums, extremes and moments NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from udfs.features.layout import Fields, Group

_INT = np.iinfo(np.int64)
TOO_LARGE: int = _INT.min
"""What stands for a sum that 64 bits do not hold; a row with it is refused."""


def present(batch: pa.RecordBatch, columns: tuple[str, ...], where: str) -> NDArray[np.bool_] | None:
    """Where none of `columns` is null and `where` is true; None: everywhere."""
    found: NDArray[np.bool_] | None = None
    for name in columns:
        if batch.column(name).null_count:
            valid = batch.column(name).is_valid().to_numpy(zero_copy_only=False)
            found = valid if found is None else found & valid
    if where:
        true = pc.fill_null(batch.column(where), False).to_numpy(zero_copy_only=False)
        found = true if found is None else found & true
    return found


def values(
    batch: pa.RecordBatch, column: str, dtype: type, there: NDArray[np.bool_] | None, otherwise: Any
) -> Any:
    """A column of numbers, with `otherwise` where it is not `there`."""
    array = batch.column(column)
    if array.null_count:
        array = array.fill_null(0)
    numbers = array.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    return numbers if there is None else np.where(there, numbers, otherwise)


def count(column: str, where: str) -> Group:
    def lift(batch: pa.RecordBatch) -> Fields:
        there = present(batch, (column,) if column else (), where)
        return [np.ones(batch.num_rows, np.int64) if there is None else there.astype(np.int64)]

    return Group(("count", column, where), (np.int64,), (0,), lift, _each(np.add), (np.add,))


def total(column: str, where: str, dtype: type) -> Group:
    """Sum. One of int64 that does not fit is TOO_LARGE, whatever is added to it."""

    def lift(batch: pa.RecordBatch) -> Fields:
        return [values(batch, column, dtype, present(batch, (column,), where), 0)]

    key = ("sum", column, where, dtype.__name__)
    if dtype is np.int64:
        return Group(key, (dtype,), (0,), lift, _add_integers)
    return Group(key, (dtype,), (0.0,), lift, _each(np.add), (np.add,))


def extreme(column: str, where: str, dtype: type, highest: bool) -> Group:
    ufunc: np.ufunc = np.maximum if highest else np.minimum
    ends = (_INT.min, _INT.max) if dtype is np.int64 else (-np.inf, np.inf)
    identity = ends[0] if highest else ends[1]

    def lift(batch: pa.RecordBatch) -> Fields:
        return [values(batch, column, dtype, present(batch, (column,), where), identity)]

    key = ("max" if highest else "min", column, where)
    return Group(key, (dtype,), (identity,), lift, _each(ufunc), (ufunc,))


def moments(column: str, where: str) -> Group:
    """Count, mean, sum of squared differences from the mean, merged as in Chan, Golub, LeVeque 1979."""

    def lift(batch: pa.RecordBatch) -> Fields:
        there = present(batch, (column,), where)
        ones = np.ones(batch.num_rows) if there is None else there.astype(np.float64)
        return [ones, values(batch, column, np.float64, there, 0.0), np.zeros(batch.num_rows)]

    def merge(a: Fields, b: Fields) -> Fields:
        (n, mean, squares), (m, other, more) = a, b
        both = n + m
        share = np.divide(m, both, out=np.zeros_like(both), where=both > 0)
        step = other - mean
        merged = [both, mean + step * share, squares + more + step * step * n * share]
        return [np.where(m == 0, x, np.where(n == 0, y, z)) for x, y, z in zip(a, b, merged, strict=True)]

    return Group(("moments", column, where), (np.float64,) * 3, (0.0, 0.0, 0.0), lift, merge)


def _each(ufunc: np.ufunc) -> Any:
    return lambda a, b: [ufunc(x, y) for x, y in zip(a, b, strict=True)]


def _add_integers(a: Fields, b: Fields) -> Fields:
    found = a[0] + b[0]
    beyond = ((a[0] ^ found) & (b[0] ^ found)) < 0
    beyond |= (a[0] == TOO_LARGE) | (b[0] == TOO_LARGE)
    return [np.where(beyond, TOO_LARGE, found) if beyond.any() else found]
