"""Matrices out of JSON without a Python list for each row of them.

A matrix is cut out of the record as text. What is left of that text without what numbers and blanks are
made of must be the brackets and commas of the wanted shape; then the same text without brackets is one flat
list of as many numbers. Measured on 25x15x3 with four digits: 54 us a record, of which 38 are for the 1,125
numbers themselves; nested lists taken apart took 86. `python -m bench.records` measures it here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

import msgspec
import numpy as np
import orjson

from schemas.tensors import Columns, DType, Input

FORMATS = {DType.FLOAT32: "f", DType.FLOAT64: "d", DType.INT32: "i", DType.INT64: "q", DType.BOOL: "?"}
_IN_NUMBERS = b"0123456789+-eE \t\r\n"  # and points
_WITHOUT_BRACKETS = bytes.maketrans(b"[]", b"  ")  # to blanks: that is quicker than leaving them out
_MARK = b'"~"'  # stands for a matrix that is cut out
_LARGE = 500  # numbers in a matrix, from which on that saves time
_AT_ONCE = 2048  # numbers in one list: more of them leave the processor's cache


class MatrixText:
    """Numbers of matrices of one shape. Raises `ValueError` for a dtype that is not of numbers."""

    def __init__(self, dtype: DType, shape: Sequence[int]) -> None:
        if dtype is DType.BOOL or dtype not in FORMATS:
            raise ValueError(f"not of numbers: {dtype.value}")
        self.size = int(np.prod(shape, dtype=int))
        self._skeleton, self._points = (
            reduce(lambda inner, n: b"[" + b",".join([inner] * n) + b"]", reversed(shape), number)
            for number in (b"", b".")
        )

    def numbers(self, texts: Sequence[Any]) -> list[Any]:
        """The numbers of all `texts` (JSON of matrices) in order; `ValueError` where one is not as wanted.

        The numbers are as JSON has them: `struct` refuses a float for an integer, and what overflows.
        """
        joined = b",".join(texts)
        if joined.translate(None, _IN_NUMBERS + b".") != b",".join([self._skeleton] * len(texts)):
            raise ValueError("not of the shape")
        return _flat(joined)

    def pointed(self, texts: Sequence[Any]) -> list[Any] | None:
        """As `numbers` of texts that need be no JSON; None where not each number is seen to have its place.

        It is where it has a point: brackets on the wrong side of a number would stand on that of its point.
        """
        joined = b",".join(texts)
        seen = joined.translate(None, _IN_NUMBERS) == b",".join([self._points] * len(texts))
        return _flat(joined) if seen else None


def _flat(text: bytes) -> Any:
    """The numbers of a matrix in order. Raises `ValueError` for what is none."""
    return orjson.loads(b"[" + text.translate(_WITHOUT_BRACKETS) + b"]")


class MatrixReader:
    """Reads records for a model whose one input is one matrix, as `TypedReader` does all others.

    Raises `ValueError` for other inputs.
    """

    def __init__(self, inputs: Sequence[Input]) -> None:
        if len(inputs) != 1 or len(inputs[0].fields) != 1 or len(inputs[0].shape) < 2:
            raise ValueError("not one matrix")
        (self._input,) = inputs
        self._text = MatrixText(self._input.dtype, self._input.shape)
        record = msgspec.defstruct(
            "Record", [("f0", msgspec.Raw)], rename={"f0": inputs[0].fields[0]}, gc=False
        )
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(record).decode
        self._opening, self._closing = (bracket * len(self._input.shape) for bracket in (b"[", b"]"))
        self._records = max(1, _AT_ONCE // max(self._text.size, 1))
        self._pack: dict[int, Callable[..., bytes]] = {}

    def read(self, payloads: Sequence[bytes]) -> bytearray:
        """All payloads packed, or any exception where one of them is not as wanted."""
        check_utf8(payloads)
        packed = bytearray()
        for start in range(0, len(payloads), self._records):
            part = payloads[start : start + self._records]
            packed += self._packer(len(part))(*self._numbers(part))
        return packed

    def _numbers(self, payloads: Sequence[bytes]) -> list[Any]:
        texts = list(map(self._cut, payloads)) if self._text.size >= _LARGE else [None]
        found = None if None in texts else self._text.pointed(texts)
        return self._text.numbers([self._decode(p).f0 for p in payloads]) if found is None else found

    def _cut(self, payload: bytes) -> bytes | None:
        """The text of the matrix where its first number has a point; nobody has looked at its grammar.

        msgspec takes a fifth of all the time to pass over many numbers, so it reads the record with a mark in
        the place of its first matrix. Where the mark is not the field's value that matrix is another one.
        """
        start = payload.find(self._opening)
        after = payload.find(b'"', start)
        end = payload.rfind(self._closing, 0, after if after >= 0 else None) + len(self._closing)
        if not 0 <= start < end or b"." not in payload[start : payload.find(b",", start)] or b"~" in payload:
            return None
        value = self._decode(payload[:start] + _MARK + payload[end:]).f0
        return payload[start:end] if bytes(value) == _MARK else None

    def pack(self, values: Iterable[Any]) -> bytes:
        """Checked values of one record, as `read` packs them."""
        return self._packer(1)(*values)

    def columns(self, packed: bytearray, count: int) -> Columns:
        i = self._input
        return {i.name: np.frombuffer(packed, i.dtype.numpy).reshape(count, *i.shape)}

    def _packer(self, records: int) -> Callable[..., bytes]:
        if records not in self._pack:
            numbers = records * self._text.size
            self._pack[records] = struct.Struct(f"={numbers}{FORMATS[self._input.dtype]}").pack
        return self._pack[records]


def check_utf8(payloads: Sequence[bytes]) -> None:
    """Raise `ValueError` for bytes that are no UTF-8: msgspec does not look at what it passes over."""
    if not all(map(bytes.isascii, payloads)):
        for payload in payloads:
            payload.decode()
