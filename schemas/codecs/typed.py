"""The fast way through JSON: msgspec parses only the wanted fields, typed, and `struct` packs them.

Measured on 250-byte records with 11 floats against orjson, `itemgetter` and `np.array`: under half the
time. Each payload is parsed by itself, so no payload can move its neighbours' rows. msgspec does
not look into what it skips as closely as orjson: UTF-8 is therefore checked here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import starmap
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np

from schemas.codecs.matrices import FORMATS, MatrixReader, MatrixText, check_utf8
from schemas.codecs.matrix import FLOATS, INT_BITS
from schemas.tensors import LIST, Columns, DType, Input


def fast_reader(inputs: Sequence[Input]) -> TypedReader | MatrixReader:
    """The fastest reader for these inputs. Raises `ValueError` where there is none (text, a field twice)."""
    try:
        return MatrixReader(inputs)
    except ValueError:
        return TypedReader(inputs)


class TypedReader:
    """Reads scalars, lists and matrices. Raises `ValueError` where it cannot: text, matrices of flags,
    optional inputs other than numbers with a fraction."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        fields = [(name, i) for i in inputs for name in i.fields]
        names = [name for name, _ in fields]
        if not fields or len(set(names)) < len(names):
            raise ValueError("no fields, or a field that is read twice")
        if any(i.shape == LIST for i in inputs):
            raise ValueError("a list of any length")
        attributes = [f"f{k}" for k in range(len(names))]
        record = msgspec.defstruct(
            "Record",
            [
                (a, leaf_type(i), None) if i.optional else (a, leaf_type(i))
                for a, (_, i) in zip(attributes, fields, strict=True)
            ],
            kw_only=True,
            rename=dict(zip(attributes, names, strict=True)),
            gc=False,
        )
        self._decode = msgspec.json.Decoder(record).decode
        self._values = _flattener([_matrix(i) if len(i.fields) == 1 else None for _, i in fields])
        if any(i.optional for i in inputs):
            self._values = _filled(self._values)
        self._packed = Packed(inputs)
        self._pack = self._packed.pack

    def read(self, payloads: Sequence[bytes]) -> bytearray:
        """All payloads packed, or any exception where one of them is not as wanted."""
        check_utf8(payloads)
        return bytearray().join(starmap(self._pack, map(self._values, map(self._decode, payloads))))

    def pack(self, values: Iterable[Any]) -> bytes:
        """Checked values of one record, in the order of the inputs, as `read` packs them."""
        return self._pack(*(math.nan if v is None else v for v in values))

    def columns(self, packed: bytearray, count: int) -> Columns:
        return self._packed.columns(packed, count)


class Packed:
    """Rows of numbers of a fixed width as bytes, and columns out of them without a copy of each number."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        sizes = [(int(np.prod(i.shape, dtype=int)), FORMATS[i.dtype]) for i in inputs]
        # standard sizes ("="): packs without gaps, and refuses what overflows a float32 or an integer
        self.pack = struct.Struct("=" + "".join(f"{n}{f}" for n, f in sizes)).pack
        self._layout = np.dtype([(f"i{k}", i.dtype.numpy, i.shape) for k, i in enumerate(inputs)])
        self._inputs = tuple(inputs)

    def columns(self, packed: bytearray, count: int) -> Columns:
        """The columns of `count` rows."""
        if len(self._inputs) == 1:
            (only,) = self._inputs
            return {only.name: np.frombuffer(packed, only.dtype.numpy).reshape(count, *only.shape)}
        view = np.frombuffer(packed, self._layout)
        return {i.name: np.ascontiguousarray(view[f"i{k}"]) for k, i in enumerate(self._inputs)}


def leaf_type(wanted: Input) -> Any:
    """What msgspec makes of a field. Raises `ValueError` for texts, which have no fixed width."""
    kind: Any
    if wanted.optional:
        if wanted.dtype not in FLOATS or wanted.shape:
            raise ValueError(f"optional: {wanted.dtype.value}")
        return float | None
    if wanted.dtype in FLOATS:
        kind = float  # integers are taken and become floats; bools and text are refused
    elif wanted.dtype in INT_BITS:
        bound = 2 ** INT_BITS[wanted.dtype]
        kind = Annotated[int, msgspec.Meta(ge=-bound, le=bound - 1)]
    elif wanted.dtype is DType.BOOL:
        kind = bool
    else:
        raise ValueError(f"no fixed width: {wanted.dtype.value}")
    if len(wanted.fields) > 1 or not wanted.shape:
        return kind
    if len(wanted.shape) > 1:
        return msgspec.Raw
    return Annotated[list[kind], msgspec.Meta(min_length=wanted.shape[0], max_length=wanted.shape[0])]


_Spread = Callable[[Any], Iterable[Any]]
"""A value of a list or a matrix to its numbers in order."""


def _filled(values: Callable[[Any], Sequence[Any]]) -> Callable[[Any], Sequence[Any]]:
    """With NaN where an optional number is null or absent."""
    return lambda record: [math.nan if v is None else v for v in values(record)]


def _matrix(wanted: Input) -> _Spread | None:
    if len(wanted.shape) < 2:
        return iter if wanted.shape else None
    text = MatrixText(wanted.dtype, wanted.shape)
    return lambda raw: text.numbers((raw,))


def _flattener(spread: Sequence[_Spread | None]) -> Callable[[Any], Sequence[Any]]:
    if not any(spread):
        return msgspec.structs.astuple
    if spread == [iter]:
        return attrgetter("f0")

    def flat(record: Any) -> list[Any]:
        values: list[Any] = []
        for value, several in zip(msgspec.structs.astuple(record), spread, strict=True):
            if several is not None:
                values.extend(several(value))
            else:
                values.append(value)
        return values

    return flat
