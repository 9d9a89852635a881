"""What a model reads and writes, and a micro-batch of it in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class DType(StrEnum):
    """Element types a model may ask for. TEXT is a Python `str` in an object array."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT32 = "int32"
    INT64 = "int64"
    BOOL = "bool"
    TEXT = "text"

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(object) if self is DType.TEXT else np.dtype(self.value)


LIST = (-1,)
"""The shape of an input that is a list of any length: its column holds an array of one dimension a record."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a model and the record fields it is made of.

    `shape` is the shape of one record's value, without the batch dimension: `()` for a scalar.
    With one field, that field's value has this shape (a number, or a list of `shape[0]` numbers).
    With k > 1 fields, each is a scalar and `shape` is `(k,)`: the fields in this order make a row.
    `LIST` is a list of any length, of one field.
    `optional`: a record may lack the field or hold null there. A column then holds NaN for numbers with a
    fraction and None for texts; whole numbers and flags are objects, with None, where one is missing. A list
    (`LIST`) is then empty.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    fields: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a model; `shape` without the batch dimension."""

    name: str
    dtype: DType
    shape: tuple[int, ...] = ()


Columns = Mapping[str, NDArray]
"""Input or output name -> array of shape `(n, *shape)`; all of one micro-batch have the same n."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record of a micro-batch that could not become model input. `row` is its index in the micro-batch."""

    row: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded micro-batch: columns of the good rows, their indices in the micro-batch, and the bad rows.

    `rows` is None where every record of the micro-batch is good, so that the usual case costs nothing.
    """

    columns: Columns
    count: int
    rows: NDArray | None = None
    bad: Sequence[BadRecord] = field(default_factory=tuple)
