"""Matrices out of JSON without a Python list for each row of them.

msgspec cuts a matrix out of the record as text, and has looked at its grammar. What is left of that text
without what numbers and blanks are made of must be the brackets and commas of the wanted shape; then the same
text without brackets is one flat list of as many numbers. Measured on 25x15x3 with four digits, on a busy
machine: 60 us a record, of which 40 are for the 1,125 numbers themselves; nested lists taken apart took 75 to
80, nested lists given to numpy 115. `python -m bench.records` measures it here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import orjson

from schemas.tensors import Columns, DType, Input

FORMATS = {DType.FLOAT32: "f", DType.FLOAT64: "d", DType.INT32: "i", DType.INT64: "q", DType.BOOL: "?"}
_IN_NUMBERS = b"0123456789+-.eE \t\r\n"
_WITHOUT_BRACKETS = bytes.maketrans(b"[]", b"  ")  # to blanks: that is quicker than leaving them out
_AT_ONCE = 2048  # numbers in one list: more of them leave the processor's cache


class MatrixText:
    """Numbers of matrices of one shape. Raises `ValueError` for a dtype that is not of numbers."""

    def __init__(self, dtype: DType, shape: Sequence[int]) -> None:
        if dtype is DType.BOOL or dtype not in FORMATS:
            raise ValueError(f"not of numbers: {dtype.value}")
        self.size = int(np.prod(shape, dtype=int))
        self._skeleton = reduce(lambda inner, n: b"[" + b",".join([inner] * n) + b"]", reversed(shape), b"")

    def numbers(self, texts: Sequence[Any]) -> list[Any]:
        """The numbers of all `texts` (JSON of matrices) in order; `ValueError` where one is not as wanted.

        The numbers are as JSON has them: `struct` refuses a float for an integer, and what overflows.
        """
        joined = b",".join(texts)
        if joined.translate(None, _IN_NUMBERS) != b",".join([self._skeleton] * len(texts)):
            raise ValueError("not of the shape")
        return orjson.loads(b"[" + joined.translate(_WITHOUT_BRACKETS) + b"]")


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
        self._decode = msgspec.json.Decoder(record).decode
        self._records = max(1, _AT_ONCE // max(self._text.size, 1))
        self._pack: dict[int, Callable[..., bytes]] = {}

    def block(self, payloads: Sequence[bytes]) -> bytearray:
        """All payloads packed, or any exception where one of them is not as wanted."""
        check_utf8(payloads)
        packed, cut = bytearray(), attrgetter("f0")
        for start in range(0, len(payloads), self._records):
            part = payloads[start : start + self._records]
            packed += self._packer(len(part))(*self._text.numbers(list(map(cut, map(self._decode, part)))))
        return packed

    def pack(self, values: Iterable[Any]) -> bytes:
        """Checked values of one record, as `block` packs them."""
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
