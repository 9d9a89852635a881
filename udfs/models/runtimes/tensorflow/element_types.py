"""TensorFlow's element types as those that records and results have.

Narrow types are read and written as the wider one that holds all their values. A complex number in a result
is a pair: real part, imaginary part. No record field holds a uint64 without loss, so there is none for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.tensors import DType

_WIDER = {
    "uint8": DType.INT32,
    "int8": DType.INT32,
    "int16": DType.INT32,
    "uint16": DType.INT32,
    "uint32": DType.INT64,
    "float16": DType.FLOAT32,
    "bfloat16": DType.FLOAT32,
}
_COMPLEX = {"complex64": DType.FLOAT32, "complex128": DType.FLOAT64}
_PLAIN = frozenset(d.value for d in DType)


def input_dtype(tensor_dtype: Any) -> DType | None:
    """The `DType` in which records give a tensor of this type, or None where no field holds it."""
    name = tensor_dtype.name
    if name == "string":
        return DType.TEXT
    return _WIDER.get(name) or (DType(name) if name in _PLAIN else None)


def output_dtype(tensor_dtype: Any) -> DType | None:
    """The `DType` of a result of this type, or None where no result holds it."""
    return _COMPLEX.get(tensor_dtype.name) or input_dtype(tensor_dtype)


def is_complex(tensor_dtype: Any) -> bool:
    return tensor_dtype.name in _COMPLEX


def widened(column: NDArray, dtype: DType) -> NDArray:
    """A result as `dtype`; complex numbers get a last axis of two."""
    if column.dtype.kind == "c":
        return np.stack([column.real, column.imag], axis=-1)
    return column.astype(dtype.numpy, copy=False)
