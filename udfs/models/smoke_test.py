"""Rows to try a model with, and what its answers must look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import TrialError
from schemas.tensors import Columns, DType, Input, Output

_SEED = 20_160_607


def generated(
    inputs: Sequence[Input], count: int, valid: Mapping[str, Sequence[Any]] | None = None
) -> Columns:
    """`count` rows that are the same every time, and whose first rows do not depend on `count`.

    Numbers are in [0, 1), where most models are defined; whole numbers and flags are 0 or 1, texts "0" or
    "1". `valid` (input name -> values) stands in for these where a model takes certain values only.
    """
    columns: dict[str, NDArray] = {}
    for number, i in enumerate(inputs):
        values = np.random.default_rng([_SEED, number]).random((count, *i.shape))
        choices = (valid or {}).get(i.name)
        if choices:
            chosen = np.empty(values.size, dtype=i.dtype.numpy)
            chosen[:] = [choices[int(v * len(choices))] for v in values.flat]
            columns[i.name] = chosen.reshape(values.shape)
        elif i.dtype is DType.TEXT:
            columns[i.name] = np.where(values < 0.5, "0", "1").astype(object)
        elif i.dtype in (DType.FLOAT32, DType.FLOAT64):
            columns[i.name] = values.astype(i.dtype.numpy)
        else:
            columns[i.name] = (values >= 0.5).astype(i.dtype.numpy)
    return columns


def from_rows(inputs: Sequence[Input], rows: Sequence[Mapping[str, Any]], count: int) -> Columns:
    """`count` rows made of the given records (field -> value), repeated in order as often as needed.

    Raises `TrialError` where a record lacks a field or a value does not fit.
    """
    chosen = [rows[i % len(rows)] for i in range(count)]
    columns: dict[str, NDArray] = {}
    for i in inputs:
        try:
            if len(i.fields) == 1:
                values: list[Any] = [row[i.fields[0]] for row in chosen]
            else:
                values = [[row[field] for field in i.fields] for row in chosen]
            columns[i.name] = np.asarray(values, dtype=i.dtype.numpy).reshape((count, *i.shape))
        except KeyError as e:
            raise TrialError(f"a trial row lacks the field {e.args[0]!r} of the input {i.name!r}") from None
        except (TypeError, ValueError) as e:
            raise TrialError(f"a trial row does not fit the input {i.name!r} {i.shape}: {e}") from None
    return columns


def check_answer(answer: Columns, outputs: Sequence[Output], count: int) -> None:
    """Raise `TrialError` unless there is each output, of shape `(count, *shape)`, finite and not missing."""
    for o in outputs:
        if o.name not in answer:
            given = ", ".join(answer) or "nothing"
            raise TrialError(f"the model did not answer with its output {o.name!r}, but with {given}")
        values = np.asarray(answer[o.name])
        if values.shape != (count, *o.shape):
            declared = (count, *o.shape)
            raise TrialError(f"output {o.name!r} has the shape {values.shape}, declared is {declared}")
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            wrong = int(np.size(values) - np.isfinite(values).sum())
            raise TrialError(f"output {o.name!r} has {wrong} of {values.size} values that are not finite")
        if values.dtype.kind == "O" and any(_missing(v) for v in values.flat):
            raise TrialError(f"output {o.name!r} is missing for some rows")


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and not np.isfinite(value))
