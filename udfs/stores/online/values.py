"""A column at once as values of the online store (`schemas/online.proto`), and one value back.

Columns become Arrow binary arrays: no Python object is made for a value. Null is the empty message.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from schemas.errors import StoreError
from schemas.features.declarations import FeatureType
from schemas.online_pb2 import Value

_INT64, _BOOLEAN, _FLOAT64, _TEXT = 0x20, 0x38, 0x29, 0x12
_TEXT_LIST, _INT64_LIST, _FLOAT64_LIST, _ITEMS = 0x62, 0x72, 0x7A, 0x0A
_SECONDS, _NANOS = 0x08, 0x10
"""Tags: the field's number times 8, and its wire type."""

_SCALARS = {FeatureType.INT64: _INT64, FeatureType.TIMESTAMP: _INT64, FeatureType.BOOL: _BOOLEAN}
_LISTS = {
    FeatureType.INT64_LIST: _INT64_LIST,
    FeatureType.FLOAT64_LIST: _FLOAT64_LIST,
    FeatureType.STRING_LIST: _TEXT_LIST,
}


def encode(column: pa.Array, kind: FeatureType) -> pa.BinaryArray:
    """n values as n messages, without nulls. `column` is of the type that
    `schemas.features.feature_batch.ARROW` says.

    Raises `StoreError` for a list that holds null, which the layout cannot say.
    """
    present = None if column.null_count == 0 else column.is_valid().to_numpy(zero_copy_only=False)
    if kind is FeatureType.STRING:
        return _prefixed(_TEXT, column, present)
    if kind in _LISTS:
        return _lists(column, kind, present)
    if present is not None:
        column = column.fill_null(pa.scalar(0).cast(column.type))
    values = column.to_numpy(zero_copy_only=False)
    if kind is not FeatureType.FLOAT64:
        return _numbers(_SCALARS[kind], values, present)
    matrix = np.empty((len(values), 9), np.uint8)
    matrix[:, 0] = _FLOAT64
    matrix[:, 1:] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    return ragged(matrix, np.full(len(values), 9) if present is None else np.where(present, 9, 0))


def encode_times(milliseconds: NDArray[np.int64]) -> pa.BinaryArray:
    """Epoch milliseconds as google.protobuf.Timestamp: zeros are not written, nanoseconds never negative."""
    seconds, rest = np.divmod(milliseconds, 1000)
    return join(
        _numbers(_SECONDS, seconds, seconds != 0),
        _numbers(_NANOS, rest * 1_000_000, rest != 0),
    )


def join(*parts: pa.Array | pa.Scalar) -> pa.BinaryArray:
    """Row by row, one after the other."""
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))


def ragged(matrix: NDArray[np.uint8], lengths: NDArray[np.int64]) -> pa.BinaryArray:
    """Of each row of `matrix` the first `lengths` bytes."""
    width = matrix.shape[1]
    if len(lengths) and (lengths == lengths[0]).all():
        data = np.ascontiguousarray(matrix[:, : lengths[0]])
    else:
        data = matrix[np.arange(width) < lengths[:, None]]
    return _binary(np.concatenate(([0], np.cumsum(lengths))), pa.py_buffer(data))


def to_list(array: pa.BinaryArray) -> list[bytes]:
    """As bytes objects, some times faster than Arrow's own way."""
    if not len(array):
        return []
    ends, data = _ends(array).tolist(), array.buffers()[2].to_pybytes()
    return [data[a:b] for a, b in itertools.pairwise(ends)]


def data_of(array: pa.BinaryArray) -> memoryview:
    """All values in one piece, one after the other."""
    ends = _ends(array)
    return memoryview(array.buffers()[2])[ends[0] : ends[-1]]


def records(columns: Sequence[pa.BinaryArray]) -> tuple[str, pa.BinaryArray]:
    """Rows of binary columns, each row in one piece, and their layout for Lua's `struct.unpack`: a column of
    one width as it is, another with the length (uint32) before each value."""
    layout, parts = "<", list[pa.Array]()
    for column in columns:
        lengths = np.diff(_ends(column))
        if lengths[0] and (lengths == lengths[0]).all():
            layout += f"c{lengths[0]}"
        else:  # "c0" takes as many bytes as the number before it says
            layout += "I4c0"
            sizes = lengths.astype("<u4").view(np.uint8).reshape(-1, 4)
            parts.append(ragged(sizes, np.full(len(column), 4)))
        parts.append(column)
    return layout, join(*parts)


def decode(data: bytes, kind: FeatureType) -> Any:
    """One value, None for null. Integers and floats of other widths and Feast's own timestamps (seconds) are
    taken, too. Raises `StoreError` for what is no message, or of another type."""
    if not data:
        return None
    try:
        value = Value.FromString(data)
    except DecodeError as e:
        raise StoreError(f"{data[:40]!r} is no value of the online store: {e}") from None
    held = value.WhichOneof("kind")
    if held == "null":
        return None
    convert = _READ[kind].get(held or "")
    if convert is None:
        raise StoreError(f"the online store holds {held or 'an unknown type'} where {kind} belongs")
    return convert(getattr(value, held))


def _same(value: Any) -> Any:
    return value


def _items(value: Any) -> list[Any]:
    return list(value.items)


_READ: Mapping[FeatureType, Mapping[str, Callable[[Any], Any]]] = {
    FeatureType.INT64: {"int64": _same, "int32": _same},
    FeatureType.FLOAT64: {"float64": _same, "float32": _same, "int64": float, "int32": float},
    FeatureType.BOOL: {"boolean": _same},
    FeatureType.STRING: {"text": _same},
    FeatureType.TIMESTAMP: {"int64": _same, "timestamp": lambda seconds: seconds * 1000},
    FeatureType.INT64_LIST: {"int64_list": _items},
    FeatureType.FLOAT64_LIST: {"float64_list": _items},
    FeatureType.STRING_LIST: {"text_list": _items},
}


def _lists(column: pa.ListArray, kind: FeatureType, present: NDArray[np.bool_] | None) -> pa.BinaryArray:
    items = column.flatten()
    if items.null_count:
        raise StoreError("a list with a null in it cannot be stored: the online layout has no null items")
    ends = np.concatenate(([0], np.cumsum(_lengths(pc.list_value_length(column)))))
    if kind is FeatureType.STRING_LIST:
        return _prefixed(_TEXT_LIST, _grouped(_prefixed(_ITEMS, items, None), ends), present)
    values = items.to_numpy(zero_copy_only=False)
    if kind is FeatureType.FLOAT64_LIST:
        packed = _binary(ends * 8, pa.py_buffer(np.ascontiguousarray(values, "<f8")))
    else:
        packed = _grouped(ragged(*_varints(values)), ends)
    # An empty list has no field of items at all.
    return _prefixed(_LISTS[kind], _prefixed(_ITEMS, packed, _lengths(pc.binary_length(packed)) > 0), present)


def _prefixed(tag: int, bodies: pa.Array, present: NDArray[np.bool_] | None) -> pa.BinaryArray:
    """A field of wire type 2: tag, length, body."""
    bodies = bodies.cast(pa.binary())
    sizes = _numbers(tag, _lengths(pc.binary_length(bodies)), present)
    return join(sizes, bodies if bodies.null_count == 0 else bodies.fill_null(b""))


def _numbers(tag: int, numbers: NDArray[Any], present: NDArray[np.bool_] | None) -> pa.BinaryArray:
    """A field of wire type 0: tag, varint; nothing where not `present`."""
    varints, lengths = _varints(numbers)
    matrix = np.empty((len(varints), varints.shape[1] + 1), np.uint8)
    matrix[:, 0] = tag
    matrix[:, 1:] = varints
    return ragged(matrix, lengths + 1 if present is None else np.where(present, lengths + 1, 0))


def _varints(numbers: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """As many bytes each as the longest needs, and how many of them count. Negative numbers take all ten."""
    unsigned = numbers.astype(np.int64).view(np.uint64)
    width = max(1, -(-int(unsigned.max(initial=0)).bit_length() // 7))
    rest = unsigned[:, None] >> np.arange(0, 7 * width, 7, dtype=np.uint64)
    lengths = np.maximum(1, np.count_nonzero(rest, axis=1))
    groups = (rest & np.uint64(0x7F)).astype(np.uint8)
    groups[np.arange(width) < lengths[:, None] - 1] |= 0x80
    return groups, lengths


def _lengths(sizes: pa.Array) -> NDArray[np.int64]:
    return sizes.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _grouped(items: pa.BinaryArray, ends: NDArray[np.int64]) -> pa.BinaryArray:
    """Neighbouring items as one: the i-th of the result are those from `ends[i]` to `ends[i + 1]`."""
    return _binary(_ends(items)[ends], items.buffers()[2])


def _ends(array: pa.BinaryArray) -> NDArray[np.int32]:
    """Where each value begins in the data, and where the last ends: n + 1 of them."""
    return np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)


def _binary(offsets: NDArray[np.integer], data: pa.Buffer) -> pa.BinaryArray:
    return pa.Array.from_buffers(
        pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets.astype(np.int32)), data]
    )
