"""Parsed records to columns, for every codec: all of a micro-batch at once, or row by row for bad ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.codecs.base import Code, UnfitError
from schemas.tensors import LIST, BadRecord, Columns, Decoded, DType, Input

# What numpy would take silently (text, bools, None) is why types are compared exactly.
_TYPES: dict[DType, frozenset[type]] = {
    DType.FLOAT32: frozenset({float, int}),
    DType.FLOAT64: frozenset({float, int}),
    DType.INT32: frozenset({int}),
    DType.INT64: frozenset({int}),
    DType.BOOL: frozenset({bool}),
    DType.TEXT: frozenset({str}),
}
FLOATS = frozenset({DType.FLOAT32, DType.FLOAT64})
INT_BITS = {DType.INT32: 31, DType.INT64: 63}
_FLOAT32_BOUND = 2.0**128 - 2.0**103  # from here on, rounding to float32 gives infinity
_KINDS = {str: "text", bool: "a bool", int: "an integer", float: "a float", dict: "an object", list: "a list"}


@dataclass(frozen=True, slots=True)
class Access:
    """How the fields of a parsed record are read.

    `getter(fields)` gives a function from a record to its value (one field) or tuple of values (several)
    and may raise anything where one is absent; `look(record, field)` raises `KeyError` there.
    """

    getter: Callable[[Sequence[str]], Callable[[Any], Any]]
    look: Callable[[Any, str], Any]


def assemble(
    records: Sequence[Any], inputs: Sequence[Input], access: Access, kept: Sequence[int], bad: list[BadRecord]
) -> Decoded:
    """Columns of `records`, which stand at the indices `kept` of their micro-batch; `bad` is taken over."""
    try:
        columns: Columns = {i.name: _column(records, i, access) for i in inputs}
    except Exception:
        good, values = [], []
        for row, record in zip(kept, records, strict=True):
            try:
                values.append(check(record, inputs, access))
                good.append(row)
            except UnfitError as e:
                bad.append(e.at(row))
        kept = good
        columns = {i.name: to_column((v[k] for v in values), len(good), i) for k, i in enumerate(inputs)}
    return finish(columns, kept, bad)


def finish(columns: Columns, kept: Sequence[int], bad: list[BadRecord]) -> Decoded:
    """A `Decoded` with its bad rows in order, and `rows` only where there are any."""
    bad.sort(key=lambda b: b.row)
    rows = np.asarray(kept, dtype=np.intp) if bad else None
    return Decoded(columns, len(kept), rows, tuple(bad))


def to_column(values: Any, count: int, wanted: Input) -> NDArray:
    """Checked flat values of `count` records, one iterable each, as `(count, *shape)`; lists `(count,)`."""
    if wanted.shape == LIST:
        return _lists(values, count, wanted)
    flat = list(chain.from_iterable(values))
    if wanted.optional:
        return optional_column(flat, wanted)
    return np.array(flat, dtype=wanted.dtype.numpy).reshape(count, *wanted.shape)


def optional_column(values: list, wanted: Input) -> NDArray:
    """Checked values of an optional input, None where one is missing: see `schemas.tensors.Input`."""
    if wanted.dtype in FLOATS:
        return np.array([math.nan if v is None else v for v in values], wanted.dtype.numpy)
    if wanted.dtype is DType.TEXT or None in values:
        column = np.empty(len(values), object)
        column[:] = values
        return column
    return np.array(values, wanted.dtype.numpy)


def _present(record: Any, access: Access, field: str) -> Any:
    """The value of an optional field; None where it is absent, null or NaN."""
    try:
        value = access.look(record, field)
    except KeyError:
        return None
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - NaN


def _column(records: Sequence[Any], wanted: Input, access: Access) -> NDArray:
    """The column, or any exception where a single value is not as wanted."""
    if wanted.optional:
        flat = [_present(record, access, wanted.fields[0]) for record in records]
        if wanted.shape == LIST:
            return _list_column([() if value is None else value for value in flat], wanted)
        if not {*_TYPES[wanted.dtype], type(None)}.issuperset(map(type, flat)):
            raise TypeError(wanted.name)
        column = optional_column(flat, wanted)
        if wanted.dtype in FLOATS and np.isinf(column).any():
            raise ValueError(wanted.name)
        return column
    flat = list(map(access.getter(wanted.fields), records))
    if len(wanted.fields) > 1:
        flat = list(chain.from_iterable(flat))
    elif wanted.shape == LIST:
        return _list_column(flat, wanted)
    else:
        for size in wanted.shape:
            if not {list, tuple}.issuperset(map(type, flat)) or not {size}.issuperset(map(len, flat)):
                raise ValueError(wanted.name)
            flat = list(chain.from_iterable(flat))
    if not _TYPES[wanted.dtype].issuperset(map(type, flat)):
        raise TypeError(wanted.name)
    with np.errstate(over="ignore"):
        column = np.array(flat, dtype=wanted.dtype.numpy).reshape(len(records), *wanted.shape)
    if wanted.dtype in FLOATS and not np.isfinite(column).all():
        raise ValueError(wanted.name)
    return column


def _lists(values: Any, count: int, wanted: Input) -> NDArray:
    """A column of arrays of one dimension, one a record."""
    column = np.empty(count, object)
    for row, part in enumerate(values):
        column[row] = np.array(part, dtype=wanted.dtype.numpy)
    return column


def _list_column(lists: Sequence[Any], wanted: Input) -> NDArray:
    """The column of lists of any length, or any exception where a single value is not as wanted."""
    if not {list, tuple}.issuperset(map(type, lists)):
        raise ValueError(wanted.name)
    flat = list(chain.from_iterable(lists))
    if not _TYPES[wanted.dtype].issuperset(map(type, flat)):
        raise TypeError(wanted.name)
    with np.errstate(over="ignore"):
        if wanted.dtype in FLOATS and not np.isfinite(np.array(flat, wanted.dtype.numpy)).all():
            raise ValueError(wanted.name)
    return _lists(lists, len(lists), wanted)


def check(record: Any, inputs: Sequence[Input], access: Access) -> list[list]:
    """One record's flat values, a list an input; raises `UnfitError` with the first reason against it."""
    found: list[list] = []
    for wanted in inputs:
        flat: list = []
        if wanted.optional:
            value = _present(record, access, wanted.fields[0])
            if wanted.shape != LIST:
                flat.append(None if value is None else scalar(value, wanted.dtype, wanted.fields[0]))
            elif value is not None:
                _flatten(value, LIST, wanted.dtype, wanted.fields[0], flat)
            found.append(flat)
            continue
        shape = wanted.shape if len(wanted.fields) == 1 else ()
        for name in wanted.fields:
            try:
                value = access.look(record, name)
            except KeyError:
                raise UnfitError(Code.MISSING_FIELD, f"field {name!r} is missing") from None
            _flatten(value, shape, wanted.dtype, name, flat)
        found.append(flat)
    return found


def _flatten(value: Any, shape: tuple[int, ...], dtype: DType, name: str, into: list) -> None:
    if not shape:
        into.append(scalar(value, dtype, name))
    elif value is None:
        raise UnfitError(Code.NULL, f"field {name!r} is null")
    elif not isinstance(value, list | tuple):
        what = "a list" if shape == LIST else f"a list of {shape[0]}"
        raise UnfitError(Code.WRONG_SHAPE, f"field {name!r} holds {kind_of(value)} where {what} belongs")
    elif shape != LIST and len(value) != shape[0]:
        raise UnfitError(
            Code.WRONG_SHAPE, f"field {name!r} holds a list of {len(value)} where {shape[0]} belong"
        )
    else:
        for part in value:
            _flatten(part, shape[1:], dtype, name, into)


def scalar(value: Any, dtype: DType, name: str) -> Any:
    """The value as `dtype` has it, the one rule for all who read records; raises `UnfitError`."""
    if value is None:
        raise UnfitError(Code.NULL, f"field {name!r} is null")
    kind = type(value)
    if dtype in INT_BITS and (kind is int or kind is float):
        return _integer(value, dtype, name)
    if kind not in _TYPES[dtype]:
        raise UnfitError(
            Code.WRONG_TYPE, f"field {name!r} holds {kind_of(value)} where a {dtype.value} belongs"
        )
    if dtype not in FLOATS:
        return value
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or (dtype is DType.FLOAT32 and abs(number) >= _FLOAT32_BOUND):
        raise UnfitError(
            Code.NOT_FINITE, f"field {name!r} holds {number!r}, which is not a finite {dtype.value}"
        )
    return number


def _integer(value: float, dtype: DType, name: str) -> int:
    """A whole float is taken for the integer it equals: writers in other languages send 5.0 for 5."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UnfitError(Code.NOT_FINITE, f"field {name!r} holds {value!r}, which is not a finite number")
    bound = 2 ** INT_BITS[dtype]
    # a float of -2**63 may stand for an integer too long for 64 bits, so it is not taken
    fits = (
        -bound <= value < bound if isinstance(value, int) else value.is_integer() and -bound < value < bound
    )
    if not fits:
        raise UnfitError(
            Code.WRONG_TYPE, f"field {name!r} holds {value!r:.40}, which is not an {dtype.value}"
        )
    return int(value)


def kind_of(value: Any) -> str:
    """What a value is, for people."""
    kind = _KINDS.get(type(value), type(value).__name__)
    return f"{kind} ({value[:20]!r})" if isinstance(value, str) else kind
