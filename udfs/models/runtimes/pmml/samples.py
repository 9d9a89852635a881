"""Rows to try a compiled document with, made of the values that it names itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import PredictError
from schemas.tensors import Columns, DType, Input
from udfs.models.runtimes.pmml.compiler.fields import DataField
from udfs.models.runtimes.pmml.compiler.plan import InputField, Plan
from udfs.models.runtimes.pmml.compiler.types import STARTS, Type, date_of, parse

_SEED = 20_160_607
_TRIED = 256
_LONGEST = 8  # of lists
_BOUND = 2**63
_SCALES = (1.0, 10.0, 100.0, 1000.0)
_DAYS = (0, 18_262)  # 1970-01-01 and 2020-01-01


def sample_columns(
    plan: Plan, inputs: tuple[Input, ...], count: int, predict: Callable[[Columns], Columns]
) -> Columns:
    """`count` rows that the model has a result for, repeated as often as needed; any where there are none.

    Values are those that the document declares or asks for; numbers that it says nothing of are positive, of
    several sizes.
    """
    columns = {
        i.name: _values(field, plan.known.get(field.declared.name, ()), i.dtype, number)
        for number, (field, i) in enumerate(zip(plan.inputs, inputs, strict=True))
    }
    try:
        predict(columns)
        good = np.arange(_TRIED)
    except PredictError as e:
        good = (
            np.array([k for k in range(_TRIED) if k not in e.rows], np.int64) if e.rows else np.arange(_TRIED)
        )
    if not len(good):
        good = np.arange(_TRIED)
    chosen = good[np.arange(count) % len(good)]
    return {name: values[chosen] for name, values in columns.items()}


def _values(field: InputField, asked: tuple[Any, ...], dtype: DType, number: int) -> NDArray:
    """`_TRIED` values of one field, the same every time."""
    rng = np.random.default_rng([_SEED, number])
    share = rng.random(_TRIED)
    declared = field.declared
    if field.many:
        lists = np.empty(_TRIED, object)
        for k, s in enumerate(share):
            lists[k] = rng.choice(np.array(asked or ("word",), object), 1 + int(s * _LONGEST))
        return lists
    choices = list(declared.valid) or (list(asked) if not declared.kind.numeric else [])
    if choices:
        made: list[Any] = [choices[int(s * len(choices))] for s in share]
    elif declared.kind.numeric:
        made = _numbers(declared, [float(v) for v in asked], share, rng)
    elif declared.kind is Type.BOOLEAN:
        made = [s < 0.5 for s in share]
    else:
        made = ["word"] * _TRIED
    if declared.kind.temporal:
        made = [_moment(declared.kind, s) for s in share]
        made = made if dtype is DType.TEXT else [parse(v, declared.kind) for v in made]
    out = np.empty(_TRIED, object)
    out[:] = [v.item() if isinstance(v, np.generic) else v for v in made]
    if dtype is DType.TEXT and declared.kind in STARTS:
        out[:] = [str(v) for v in out]
    if dtype is DType.TEXT:
        return out
    if np.issubdtype(dtype.numpy, np.integer):  # the model may ask for more than such a field can hold
        known = np.iinfo(dtype.numpy)
        out = np.clip(out, known.min, known.max)
    return out.astype(dtype.numpy)


def _numbers(declared: DataField, asked: list[float], share: NDArray, rng: np.random.Generator) -> list[Any]:
    whole = declared.kind.whole
    if declared.intervals:
        spans = [(float(i.low), float(i.high)) for i in declared.intervals]
        made = [_between(*spans[k % len(spans)], float(s)) for k, s in enumerate(share)]
    elif set(asked) == {0.0, 1.0}:  # a flag, of which a similarity may know no more
        made = [float(s < 0.5) for s in share]
    elif asked:
        low, high = min(asked), max(asked)
        reach = (high - low) or abs(high) or 1.0
        made = [low - 0.1 * reach + float(s) * 1.2 * reach for s in share]
    else:
        made = [
            float(s) * _SCALES[int(k)]
            for s, k in zip(share, rng.integers(0, len(_SCALES), _TRIED), strict=True)
        ]
    return [max(-_BOUND, min(round(v), _BOUND - 1)) for v in made] if whole else made


def _between(low: float, high: float, share: float) -> float:
    if math.isinf(low) and math.isinf(high):
        return share
    if math.isinf(low):
        return high - share
    return low + share if math.isinf(high) else low * (1.0 - share) + high * share


def _moment(kind: Type, share: float) -> str:
    day = date_of(_DAYS[0] + int(share * (_DAYS[1] - _DAYS[0]))).isoformat()
    if kind is Type.DATE:
        return day
    return f"{day}T12:00:00" if kind is Type.DATE_TIME else "12:00:00"
