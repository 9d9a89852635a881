"""Messages held as columns: what all have in common once, what differs as one text and its lengths.

Most of a result is the same for a whole micro-batch. Joined message by message it costs Python a microsecond
each, and the bytes of the stamp cross to the JVM with every record. So messages stay apart in columns until
the JVM copies each one together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import overload

import numpy as np
from numpy.typing import NDArray

from schemas.micro_batch import lengths_of

COMMA = ord(",")
_OPENING = ord("[")
FEW = 24
"""Fewer values are handled sooner one by one than by calls of numpy."""


@dataclass(frozen=True, slots=True)
class Column:
    """n values: `data` cut by `lengths`, one after the other; without lengths each of them is `data`.

    A length of -1 is of no value, where whoever reads them tells it from an empty one.
    """

    data: bytes | bytearray
    lengths: NDArray[np.int32] | None = None

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Column:
        """A value each, or None."""
        return cls(b"".join(filter(None, values)), np.array(lengths_of(values), np.int32))

    @classmethod
    def split(cls, text: bytes, count: int) -> Column:
        """The `count` values between the commas of a text."""
        if count < FEW:
            return cls.of(text.split(b","))
        return cls(
            text.replace(b",", b""),
            _between((np.frombuffer(text, np.uint8) == COMMA).nonzero()[0], len(text)),
        )

    @classmethod
    def split_lists(cls, text: bytes) -> Column:
        """The JSON arrays of numbers that a text has, with a comma between two."""
        starts = (np.frombuffer(text, np.uint8) == _OPENING).nonzero()[0]
        return cls(text.replace(b"],[", b"]["), _between(starts[1:] - 1, len(text)))

    def values(self, count: int) -> Iterable[bytes]:
        """The values of `count` messages."""
        if self.lengths is None:
            return repeat(bytes(self.data), count)
        ends = np.concatenate((np.zeros(1, np.int64), np.maximum(self.lengths, 0).cumsum(dtype=np.int64)))
        data = bytes(self.data)
        return [data[start:end] for start, end in pairwise(ends.tolist())]


def _between(commas: NDArray[np.int64], end: int) -> NDArray[np.int32]:
    """The lengths of what stands between commas at these places of a text of `end` bytes."""
    bounds = np.empty(len(commas) + 2, np.int32)
    bounds[0], bounds[1:-1], bounds[-1] = -1, commas, end
    return bounds[1:] - bounds[:-1] - 1


class Messages(Sequence[bytes]):
    """`count` messages: of each column one value, joined in the order of the columns."""

    __slots__ = ("_count", "_joined", "columns")

    def __init__(self, columns: Iterable[Column], count: int) -> None:
        self.columns, self._count = tuple(columns), count
        self._joined: list[bytes] | None = None

    @classmethod
    def of(cls, messages: Sequence[bytes | None]) -> Messages:
        """Messages as they are, or a column of them."""
        return messages if isinstance(messages, cls) else cls((Column.of(messages),), len(messages))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        return self.joined()[at]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.joined())

    def joined(self) -> list[bytes]:
        """One byte string a message; made once."""
        if self._joined is None:
            values = [column.values(self._count) for column in self.columns]
            self._joined = list(map(b"".join, zip(*values, strict=True))) if values else [b""] * self._count
        return self._joined

    def lengths(self) -> NDArray[np.int64]:
        """The length of each message."""
        total = np.zeros(self._count, np.int64)
        for column in self.columns:
            total += len(column.data) if column.lengths is None else column.lengths
        return total
