"""Arithmetic of the standard. Numbers keep their types: float with float is float, with double double."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute, full_mask
from udfs.models.runtimes.pmml.compiler.columns import Column, Mask, any_missing, half_up
from udfs.models.runtimes.pmml.compiler.expressions import Expression, Site
from udfs.models.runtimes.pmml.compiler.functions import (
    absences,
    argument_count,
    common_kind,
    function,
    numeric_arguments,
    settled,
    tolerate,
)
from udfs.models.runtimes.pmml.compiler.gathering import WithConstant
from udfs.models.runtimes.pmml.compiler.types import Type

_NORMAL = NormalDist()
_BOUND = 2**63
_SURE = 2.0**62  # a result below it, as doubles have it, is one of 64 bits
_EXACTLY: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "sum": operator.add, "product": operator.mul,
    "modulo": operator.mod,
}  # fmt: skip
_BINARY: dict[str, Callable] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "pow": np.power, "modulo": np.mod,
    "atan2": np.arctan2, "hypot": np.hypot,
}  # fmt: skip


_ROUGHLY: dict[str, Callable[[NDArray, NDArray], NDArray]] = {"sum": np.add, "product": np.multiply}
_OVER_ALL: dict[str, Callable[..., NDArray]] = {"min": np.min, "max": np.max, "median": np.median}


def erf(values: NDArray) -> NDArray[np.float64]:
    """The error function, by the C library's."""
    flat = np.asarray(values, np.float64)
    return np.fromiter(map(math.erf, flat.ravel()), np.float64, flat.size).reshape(flat.shape)


def normal_cdf(values: NDArray) -> NDArray[np.float64]:
    """The standard normal distribution function."""
    return 0.5 * (1.0 + erf(np.asarray(values) / math.sqrt(2.0)))


def _normal_pdf(values: NDArray) -> NDArray:
    return np.exp(-0.5 * values * values) / math.sqrt(2.0 * math.pi)


def _normal_idf(values: NDArray) -> NDArray[np.float64]:
    flat = np.asarray(values, np.float64)
    made = (_NORMAL.inv_cdf(v) if 0.0 < v < 1.0 else math.nan for v in flat.ravel())
    return np.fromiter(made, np.float64, flat.size).reshape(flat.shape)


_REAL: dict[str, Callable[[NDArray], NDArray]] = {
    "exp": np.exp, "expm1": np.expm1, "ln": np.log, "ln1p": np.log1p, "log10": np.log10, "sqrt": np.sqrt,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "erf": erf, "stdNormalCDF": normal_cdf,
    "stdNormalPDF": _normal_pdf, "stdNormalIDF": _normal_idf,
}  # fmt: skip
_ROUNDING: dict[str, Callable[[NDArray], NDArray]] = {
    "abs": np.abs, "floor": np.floor, "ceil": np.ceil, "rint": np.rint,
    "round": half_up,
}  # fmt: skip


@function("+", "-", "*", "/", "pow", "modulo", "atan2", "hypot")
def _binary(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 2, 2)
    arguments = numeric_arguments(name, given)
    kind = common_kind(arguments)
    if kind is Type.INTEGER and name in ("/", "pow", "atan2", "hypot"):
        kind = Type.DOUBLE  # a quotient of integers is no integer: so in XQuery, which the standard follows
    operation, strict = _BINARY[name], name not in "+-*/"
    if kind is Type.INTEGER:
        return Expression(kind, _of_integers(name, arguments, operation), strict=strict)
    target, (left, right) = kind.numpy, arguments
    first, second = left.compute, right.compute
    if right.is_constant and right.constant is not None and left.kind is kind:
        by = np.asarray(right.constant, target)  # by far the most: a field and a number
        return Expression(kind, WithConstant(first, operation, by), strict=strict)

    def compute(batch: Batch) -> Column:
        a, b = first(batch), second(batch)
        made = operation(_as(a.values, target), _as(b.values, target))
        return Column(np.asarray(made), any_missing((a, b)))

    return Expression(kind, compute, strict=strict)


def _of_integers(name: str, arguments: Sequence[Expression], operation: Callable[..., NDArray]) -> Compute:
    """In 64 bits; a row whose result needs more is refused."""
    first, second = (a.compute for a in arguments)

    def compute(batch: Batch) -> Column:
        a, b = first(batch), second(batch)
        missing = any_missing((a, b))
        rough = operation(a.values.astype(np.float64), b.values.astype(np.float64))
        unfit = _beyond(name, rough, (a.values, b.values))
        if unfit is not None:
            rows = np.broadcast_to(unfit, (batch.count,)) & ~full_mask(missing, batch.count)
            batch.refuse(rows, f"{name!r} of integers has no 64-bit result")
        return Column(np.asarray(operation(a.values, b.values)), missing)

    return compute


def _beyond(name: str, rough: NDArray, values: Sequence[NDArray]) -> Mask | None:
    """Which results of integers are none of 64 bits; None: none. `rough`: as doubles, by which nobody can
    tell near the bound. What is beyond on the way only is exact in the end, as integers wrap around.
    """
    unfit = np.array(~(np.abs(rough) < _SURE))
    if not unfit.any():
        return None
    lists = [np.broadcast_to(v, unfit.shape) for v in values]
    for at in np.argwhere(unfit):
        numbers = [int(v[tuple(at)]) for v in lists]
        divides = name == "modulo" and not numbers[1]
        unfit[tuple(at)] = divides or not -_BOUND <= reduce(_EXACTLY[name], numbers) < _BOUND
    return unfit


def _as(values: NDArray, dtype: np.dtype) -> NDArray:
    return values if values.dtype == dtype else values.astype(dtype)


@function(*_REAL)
def _real(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 1, 1)
    (argument,) = numeric_arguments(name, given)
    kind = Type.FLOAT if argument.kind is Type.FLOAT else Type.DOUBLE
    inner, operation = argument.compute, _REAL[name]

    def compute(batch: Batch) -> Column:
        column = inner(batch)
        made = operation(column.values.astype(np.float64))
        return Column(np.asarray(made).astype(kind.numpy), column.missing)

    return Expression(kind, compute, strict=True)


@function(*_ROUNDING)
def _rounding(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 1, 1)
    (argument,) = numeric_arguments(name, given)
    inner = argument.compute
    if argument.kind is Type.INTEGER and name != "abs":
        return Expression(argument.kind, inner)
    operation = _ROUNDING[name]

    def compute(batch: Batch) -> Column:
        column = inner(batch)
        return Column(np.asarray(operation(column.values)), column.missing)

    return Expression(argument.kind, compute, strict=True)


@function("normalCDF", "normalPDF", "normalIDF")
def _normal(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 3, 3)
    arguments = numeric_arguments(name, given)
    computes = [a.compute for a in arguments]

    def compute(batch: Batch) -> Column:
        columns = [one(batch) for one in computes]
        x, mean, deviation = (c.values.astype(np.float64) for c in columns)
        if name == "normalIDF":
            made = mean + deviation * _normal_idf(x)
        elif name == "normalCDF":
            made = normal_cdf((x - mean) / deviation)
        else:
            made = _normal_pdf((x - mean) / deviation) / deviation
        return Column(np.asarray(made), any_missing(columns))

    return Expression(Type.DOUBLE, compute, strict=True)


@function("threshold")
def _threshold(name: str, given: Sequence[Expression], site: Site) -> Expression:
    argument_count(name, given, 2, 2)
    first, second = (settled(a, name) for a in numeric_arguments(name, given))

    def compute(batch: Batch) -> Column:
        a, b = first(batch), second(batch)
        return Column(np.asarray(a.values > b.values).astype(np.int64), any_missing((a, b)))

    return Expression(Type.INTEGER, compute, strict=True)


@function("sum", "avg", "min", "max", "product", "median")
def _aggregate(name: str, given: Sequence[Expression], site: Site) -> Expression:
    """Over the arguments that are not missing; missing where all are, or where a function had no result."""
    argument_count(name, given, 1)
    arguments = numeric_arguments(name, given)
    kind = common_kind(arguments)
    exact = kind is Type.INTEGER and name in ("sum", "product")
    if kind is Type.INTEGER and name in ("avg", "median"):
        kind = Type.DOUBLE
    tolerate(arguments, site)
    computes, dtype = [a.compute for a in arguments], kind.numpy
    strict = [a.strict for a in arguments]

    def compute(batch: Batch) -> Column:
        columns = [one(batch) for one in computes]
        rows = [c.full(batch.count).astype(dtype, copy=False) for c in columns]
        absent, lost = absences(columns, strict, batch.count)
        if exact:
            _refuse_beyond(batch, name, rows, absent, lost)
        if absent is None:
            return Column(_whole(name, rows))
        return Column(_part(name, np.array(rows), absent), lost)

    return Expression(kind, compute)


def _refuse_beyond(
    batch: Batch, name: str, rows: list[NDArray], absent: Mask | None, lost: Mask | None
) -> None:
    """Refuse the rows in which the sum or product of integers is none of 64 bits."""
    neutral = 0 if name == "sum" else 1
    known = rows if absent is None else list(np.where(absent, neutral, rows))
    unfit = _beyond(name, reduce(_ROUGHLY[name], (r.astype(np.float64) for r in known)), known)
    if unfit is not None:
        batch.refuse(unfit if lost is None else unfit & ~lost, f"{name!r} of integers has no 64-bit result")


def _whole(name: str, rows: list[NDArray]) -> NDArray:
    if name in ("sum", "avg"):
        total = rows[0]
        for row in rows[1:]:  # from left to right, as it is written
            total = total + row
        return total if name == "sum" else total / total.dtype.type(len(rows))
    if name == "product":
        total = rows[0]
        for row in rows[1:]:
            total = total * row
        return total
    return _OVER_ALL[name](np.array(rows), axis=0)


def _part(name: str, rows: NDArray, absent: NDArray[np.bool_]) -> NDArray:
    """Aggregates of the present values; arbitrary where none is present."""
    if name == "median":
        with np.errstate(all="ignore"):
            held = np.where(absent & ~absent.all(axis=0), np.nan, rows.astype(np.float64))
            undefined = (np.isnan(rows) & ~absent).any(axis=0)
        return np.where(undefined, np.nan, np.nanmedian(held, axis=0)).astype(rows.dtype)
    neutral: dict[str, float] = {"sum": 0, "avg": 0, "product": 1, "min": np.inf, "max": -np.inf}
    if rows.dtype == np.int64:
        info = np.iinfo(np.int64)
        neutral = {"min": info.max, "max": info.min, "sum": 0, "product": 1}
    made = _whole(
        "sum" if name == "avg" else name, list(np.where(absent, rows.dtype.type(neutral[name]), rows))
    )
    return made / np.maximum((~absent).sum(axis=0), 1).astype(rows.dtype) if name == "avg" else made
