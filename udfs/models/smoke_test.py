"""Rows to try a model with, and what its answers must look like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.codecs.field_reading import Readings
from schemas.codecs.json_codec import JsonCodec
from schemas.codecs.matrix import FLOATS
from schemas.errors import SmokeTestError
from schemas.tensors import LIST, Columns, DType, Input, Output
from udfs.models.runtimes.base import Range

_SEED = 20_160_607
_LONGEST = 4  # of lists of any length
_MAX_ROW = 1 << 20  # bytes; descriptors are smaller


def generated(
    inputs: Sequence[Input],
    count: int,
    valid: Mapping[str, Sequence[Any]] | None = None,
    ranges: Mapping[str, Range] | None = None,
    words: int = 1,
) -> Columns:
    """`count` rows that are the same every time, and whose first rows do not depend on `count`.

    Numbers are in [0, 1), where most models are defined; whole numbers and flags are 0 or 1, texts "0" or
    "1". `valid` (input name -> values) stands in for these where a model takes certain values only, `ranges`
    (input name -> bounds) where its numbers have bounds; with one bound, numbers are within 1 of it. Texts
    have up to `words` words: a model may pad them to the longest of a call.
    """
    columns: dict[str, NDArray] = {}
    for number, i in enumerate(inputs):
        shape = (_LONGEST,) if i.shape == LIST else i.shape
        values = np.random.default_rng([_SEED, number]).random((count, *shape))
        choices = (valid or {}).get(i.name)
        if choices:
            chosen = np.empty(values.size, dtype=i.dtype.numpy)
            chosen[:] = [choices[int(v * len(choices))] for v in values.flat]
            columns[i.name] = chosen.reshape(values.shape)
        elif i.dtype is DType.TEXT:
            columns[i.name] = _of_words(np.where(values < 0.5, "0", "1"), words)
        elif ranges and i.name in ranges and i.dtype is not DType.BOOL:
            columns[i.name] = _within(values, i.dtype, *ranges[i.name])
        elif i.dtype in FLOATS:
            columns[i.name] = values.astype(i.dtype.numpy)
        else:
            columns[i.name] = (values >= 0.5).astype(i.dtype.numpy)
        if i.shape == LIST:
            columns[i.name] = _of_any_length(columns[i.name])
    return columns


def _of_any_length(rows: NDArray) -> NDArray:
    """Each row as a list of 1 to all of its values."""
    lists = np.empty(len(rows), object)
    for n, row in enumerate(rows):
        lists[n] = row[: 1 + n % rows.shape[1]]
    return lists


def _of_words(texts: NDArray, most: int) -> NDArray:
    """Each text as one to `most` words of it."""
    made = np.empty(texts.size, object)
    made[:] = [" ".join([text] * (1 + n % most)) for n, text in enumerate(texts.flat)]
    return made.reshape(texts.shape)


def _within(values: NDArray, dtype: DType, low: float | None, high: float | None) -> NDArray:
    """`values` in [0, 1) spread over the bounds."""
    if low is None and high is None:
        low = 0.0
    least = low if low is not None else high - 1  # type: ignore[operator]
    most = high if high is not None else least + 1
    if dtype in FLOATS:
        # two products, because the difference of great bounds may be infinite
        return (least * (1 - values) + most * values).astype(dtype.numpy)
    first, last = math.ceil(least), math.floor(most)
    return (first + np.floor(values * (last - first + 1))).astype(dtype.numpy)


def bounded(inputs: Sequence[Input], columns: Columns, readings: Readings) -> Columns:
    """Made-up `columns` with declared constants, and with numbers within the bounds that fields declare."""
    declared = {r.name: r for r in readings if r.bounds is not None or r.constant is not None}
    made = dict(columns)
    for number, i in enumerate(inputs):
        for at, name in enumerate(i.fields):
            if name not in declared or i.shape == LIST:
                continue
            column: NDArray = made[i.name]
            part: NDArray = column if len(i.fields) == 1 else column[:, at]
            reading = declared[name]
            if reading.constant is not None:
                part[...] = np.asarray(reading.constant, dtype=i.dtype.numpy)
            elif reading.bounds is not None and i.dtype not in (DType.TEXT, DType.BOOL):
                values: Any = np.random.default_rng([_SEED, number, at]).random(size=part.shape)
                part[...] = _within(values, i.dtype, *reading.bounds)
    return made


def smoke_columns(inputs: Sequence[Input], rows: Sequence[bytes], readings: Readings = ()) -> Columns:
    """The given records (each one JSON object), read exactly as the records of a stream.

    Raises `SmokeTestError`, which names the first row that does not fit.
    """
    decoded = JsonCodec(_MAX_ROW).decode(rows, inputs, readings)
    if decoded.bad:
        first = decoded.bad[0]
        raise SmokeTestError(
            f"smoke row {first.row + 1} of {len(rows)} does not fit the model: {first.reason}"
        )
    return decoded.columns


def repeated(columns: Columns, have: int, count: int) -> Columns:
    """`count` rows out of `have`, taken in order and again from the first as often as needed."""
    chosen = np.arange(count) % have
    return {name: column[chosen] for name, column in columns.items()}


def different(columns: Columns, count: int) -> list[int]:
    """The numbers of the first `count` rows that differ from each other; fewer where there are no more."""
    seen: set[tuple[str, ...]] = set()
    rows: list[int] = []
    for row in range(len(next(iter(columns.values()), ()))):
        # by what is printed, in which one NaN is like another
        values = tuple(repr(np.asarray(column[row]).tolist()) for column in columns.values())
        if values not in seen:
            seen.add(values)
            rows.append(row)
        if len(rows) == count:
            break
    return rows


def check_answer(answer: Columns, outputs: Sequence[Output], count: int) -> None:
    """Raise `SmokeTestError` unless each output is there, `(count, *shape)`, finite and not missing."""
    for o in outputs:
        if o.name not in answer:
            given = ", ".join(answer) or "nothing"
            raise SmokeTestError(f"the model did not answer with its output {o.name!r}, but with {given}")
        values = np.asarray(answer[o.name])
        if values.shape != (count, *o.shape):
            declared = (count, *o.shape)
            raise SmokeTestError(f"output {o.name!r} has the shape {values.shape}, declared is {declared}")
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            wrong = int(np.size(values) - np.isfinite(values).sum())
            raise SmokeTestError(f"output {o.name!r} has {wrong} of {values.size} values that are not finite")
        if values.dtype.kind == "O" and any(_missing(v) for v in values.flat):
            raise SmokeTestError(f"output {o.name!r} is missing for some rows")


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and not np.isfinite(value))
