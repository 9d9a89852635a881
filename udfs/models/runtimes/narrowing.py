"""Values of records as the narrower types that some models take."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.errors import PredictError

_NOT_A_NUMBER = np.uint16(0x7FC0)


def narrowed(name: str, column: NDArray, dtype: np.dtype) -> NDArray:
    """`column` as `dtype`, which must hold each of its values. Raises `PredictError`, which names one."""
    if column.dtype in (dtype, np.dtype(object)):
        return column
    if dtype.kind in "iu" and column.dtype.kind in "iu" and column.size:
        bounds = np.iinfo(dtype)
        low, high = column.min(), column.max()
        if low < bounds.min or high > bounds.max:
            raise _unfit(name, low if low < bounds.min else high, dtype.name)
    with np.errstate(over="ignore"):
        narrow = column.astype(dtype)
    if column.dtype.kind == "f":
        _check_kept(name, column, np.isinf(narrow.astype(np.float32)), dtype.name)
    return narrow


def bfloat16_bits(name: str, column: NDArray) -> NDArray[np.uint16]:
    """A float32 column as the bits of bfloat16, rounded to the nearest, ties to even. numpy has no such type.

    Raises `PredictError`, which names a value that is beyond it.
    """
    bits = np.ascontiguousarray(column, np.float32).view(np.uint32)
    rounded = ((bits + (np.uint32(0x7FFF) + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    _check_kept(name, column, (rounded & 0x7FFF) == 0x7F80, "bfloat16")
    return np.where(np.isnan(column), _NOT_A_NUMBER, rounded)


def _check_kept(name: str, column: NDArray, infinite: NDArray, wanted: str) -> None:
    lost = infinite & np.isfinite(column)
    if lost.any():
        raise _unfit(name, column[lost].flat[0], wanted)


def _unfit(name: str, value: object, wanted: str) -> PredictError:
    return PredictError(f"input {name!r} is {value}, and the model takes {wanted}: it does not fit")
