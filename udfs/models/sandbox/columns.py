"""Micro-batches in memory that two processes share: columns of numbers as they are, texts and lists as JSON.

What the other process wrote is checked before it is believed, and copied before it is used.
"""

from __future__ import annotations

import base64
import fcntl
import json
import mmap
import os
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.tensors import Columns, DType

_ALIGNED = 64
_TEXT = "text"
_BYTES = "bytes"
_WHOLE = "whole numbers or flags, some missing"
_LISTS: Mapping[str, Callable[[Any], NDArray]] = {
    f"lists of {kind.value}": partial(np.array, dtype=kind.numpy) for kind in DType
}
_NUMBERS = frozenset({"float32", "float64", "int32", "int64", "bool"})
_SEALS = 0x0002 | 0x0004 | 0x0001  # no shrinking, no growing, no further seals
_ADD_SEALS = 1033

Layout = dict[str, dict[str, Any]]


class TooSmallError(Exception):
    """The columns need `needed` bytes."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"{needed} bytes are needed")
        self.needed = needed


class MalformedError(Exception):
    """What stands in the memory is not what its layout says."""


class SharedBytes:
    """Memory of a fixed size behind a descriptor, which no other process can shrink."""

    def __init__(self, size: int, descriptor: int | None = None) -> None:
        """New memory, or with `descriptor` that which another process made. Raises `OSError`."""
        self.size = size
        if descriptor is None:
            descriptor = os.memfd_create("micro-batches", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(descriptor, size)
            fcntl.fcntl(descriptor, _ADD_SEALS, _SEALS)
        self.descriptor = descriptor
        self.memory = mmap.mmap(descriptor, size)

    def close(self) -> None:
        self.memory.close()
        os.close(self.descriptor)


def write(columns: Columns, into: SharedBytes) -> Layout:
    """Put the columns into the memory; the layout says where. Raises `TooSmallError`."""
    parts: list[tuple[int, bytes]] = []
    layout: Layout = {}
    end = 0
    for name, column in columns.items():
        array = np.asarray(column)
        if array.dtype.kind in "OUS":
            dtype, data = _as_json(array)
        else:
            array = np.ascontiguousarray(array)
            data, dtype = array.tobytes(), array.dtype.name
        start = -(-end // _ALIGNED) * _ALIGNED
        end = start + len(data)
        layout[name] = {"dtype": dtype, "shape": list(array.shape), "at": start, "bytes": len(data)}
        parts.append((start, data))
    if end > into.size:
        raise TooSmallError(end)
    for start, data in parts:
        into.memory[start : start + len(data)] = data
    return layout


def read(layout: Any, source: SharedBytes) -> dict[str, NDArray]:
    """The columns of a layout, as copies. Raises `MalformedError` for whatever does not fit together."""
    try:
        return {str(name): _column(place, source) for name, place in layout.items()}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as e:
        raise MalformedError(f"{type(e).__name__}: {e}") from None


def _as_json(array: NDArray) -> tuple[str, bytes]:
    """Texts, or lists of different lengths, which are arrays in an array."""
    values = array.ravel().tolist()
    inner = next((value.dtype for value in values if isinstance(value, np.ndarray)), None)
    if any(isinstance(value, bytes) for value in values):
        return _BYTES, json.dumps([None if value is None else _base64(value) for value in values]).encode()
    if inner is None:
        whole = any(isinstance(value, int | np.integer | np.bool_) for value in values)
        plain_values = [v.item() if isinstance(v, np.generic) else v for v in values]
        return _WHOLE if whole else _TEXT, json.dumps(plain_values).encode()
    plain = [value.tolist() if isinstance(value, np.ndarray) else value for value in values]
    return f"lists of {'text' if inner.kind == 'O' else inner.name}", json.dumps(plain).encode()


def _base64(value: Any) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else str(value).encode()).decode()


def _value(dtype: str, value: Any) -> Any:
    """One value of a column of objects. Raises `MalformedError` or `ValueError`."""
    if dtype in _LISTS:
        return _LISTS[dtype](value)
    if value is None:
        return None
    if dtype == _BYTES:
        return base64.b64decode(value, validate=True)
    if dtype == _WHOLE and not isinstance(value, int):
        raise MalformedError("a whole number that is none")
    return value if dtype == _WHOLE else str(value)


def _column(place: Mapping[str, Any], source: SharedBytes) -> NDArray:
    dtype, shape, start, length = place["dtype"], tuple(place["shape"]), place["at"], place["bytes"]
    if not all(type(n) is int and n >= 0 for n in (start, length, *shape)) or len(shape) > 8:
        raise MalformedError("a layout of no whole numbers")
    if start + length > source.size:
        raise MalformedError("a column beyond the memory")
    data = source.memory[start : start + length]  # a copy
    if dtype in (_TEXT, _BYTES, _WHOLE, *_LISTS):
        values = json.loads(data)
        if not isinstance(values, list) or len(values) != prod(shape):
            raise MalformedError("a column of texts or lists of another length")
        column = np.empty(len(values), dtype=object)
        for at, value in enumerate(values):
            column[at] = _value(dtype, value)
        return column.reshape(shape)
    if dtype not in _NUMBERS or length != prod(shape) * np.dtype(dtype).itemsize:
        raise MalformedError("a column of another size")
    return np.frombuffer(data, dtype=dtype).reshape(shape)
