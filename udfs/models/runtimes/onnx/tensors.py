"""ONNX's element types, and how record columns become tensors of them and back."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputsError, LoadError
from schemas.onnx_model_pb2 import Type, ValueInfo
from schemas.tensors import DType
from udfs.models.runtimes.base import PartialInput
from udfs.models.runtimes.narrowing import narrowed
from udfs.models.runtimes.tensor_inputs import ModelTensor

BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True)
class Element:
    """An element type: its name in ONNX Runtime, numpy's, and the type in which records hold its values."""

    name: str
    numpy: np.dtype
    dtype: DType


def _element(name: str, numpy: str, dtype: DType) -> Element:
    return Element(name, np.dtype(numpy), dtype)


ELEMENTS = {
    1: _element("float", "float32", DType.FLOAT32),
    2: _element("uint8", "uint8", DType.INT32),
    3: _element("int8", "int8", DType.INT32),
    4: _element("uint16", "uint16", DType.INT32),
    5: _element("int16", "int16", DType.INT32),
    6: _element("int32", "int32", DType.INT32),
    7: _element("int64", "int64", DType.INT64),
    8: _element("string", "object", DType.TEXT),
    9: _element("bool", "bool", DType.BOOL),
    10: _element("float16", "float16", DType.FLOAT32),
    11: _element("double", "float64", DType.FLOAT64),
    12: _element("uint32", "uint32", DType.INT64),
    16: _element(BFLOAT16, "float32", DType.FLOAT32),
}
"""By the number that ONNX gives. uint64, complex and narrower ones have no place in a record."""

_BY_NAME = {f"tensor({e.name})": e for e in ELEMENTS.values()}


def element_of(name: str) -> Element | None:
    """The type called `name` by ONNX Runtime, such as `tensor(float)`."""
    return _BY_NAME.get(name)


def model_tensor(value: ValueInfo) -> ModelTensor:
    """An input as declared. Dimensions that are named, absent or not positive are None."""
    if value.type.WhichOneof("value") != "tensor_type":
        raise LoadError(
            f"input {value.name!r} is no dense tensor (a sequence, a map or sparse): export one a column"
        )
    return ModelTensor(value.name, *_typed(value.type), shape_of(value.type))


def constant(given: PartialInput, value: ValueInfo) -> NDArray:
    """The array of an input that the descriptor gives as JSON. Raises `InputsError` where it does not fit."""
    about = f"the constant {given.constant} of input {given.name!r}"
    declared = model_tensor(value)
    element = ELEMENTS.get(value.type.tensor_type.elem_type)
    if element is None:
        raise InputsError(f"{about} cannot be given: the input is of type {declared.dtype_name}")
    kinds = {"f": (int, float), "b": (bool,), "O": (str,)}.get(element.numpy.kind, (int,))
    try:
        said = np.array(json.loads(given.constant), object)
        if not all(type(v) in kinds for v in said.flat):
            raise ValueError(f"the model takes {element.name}")
        made = said.astype(element.numpy)
    except (ValueError, TypeError, OverflowError) as e:
        raise InputsError(f"{about} cannot be used: {e}") from None
    shape = declared.shape
    if shape is not None and (
        len(shape) != made.ndim or any(d not in (None, n) for d, n in zip(shape, made.shape, strict=True))
    ):
        raise InputsError(f"{about} has the shape {made.shape}, and the model takes {shape}")
    return made


def fed(column: NDArray, element: Element, name: str, inner: tuple[int, ...]) -> NDArray:
    """A column as a tensor `(n, *inner)`; of bfloat16, which numpy lacks, as `Session.run` takes it: float32.

    Raises `PredictError` for numbers that the narrower type lacks; of bfloat16 `Session.run` does.
    """
    array = np.ascontiguousarray(narrowed(name, column, element.numpy), element.numpy)
    return array if array.ndim == 1 + len(inner) else array.reshape(-1, *inner)


def answered(result: NDArray, element: Element) -> NDArray:
    """A result in the type in which records hold it."""
    return result if element.numpy == element.dtype.numpy else result.astype(element.dtype.numpy)


def _typed(declared: Type) -> tuple[DType | None, str]:
    number = declared.tensor_type.elem_type
    element = ELEMENTS.get(number)
    return (element.dtype, element.name) if element else (None, _NAMES.get(number, f"number {number}"))


_NAMES = {13: "uint64", 14: "complex64", 15: "complex128"}


def shape_of(declared: Type) -> tuple[int | None, ...] | None:
    """The declared shape with the batch dimension, None for what is not told or of any size."""
    if not declared.tensor_type.HasField("shape"):
        return None
    return tuple(d.dim_value if d.dim_value > 0 else None for d in declared.tensor_type.shape.dim)
