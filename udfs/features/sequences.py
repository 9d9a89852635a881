"""The newest values of a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

_VERSION = 1

Values = tuple[Any, ...]


class LastValues:
    """Partial: at most `n` values that are not null, newest last."""

    def __init__(self, n: int) -> None:
        self._n = n

    def lift(self, columns: Sequence[pa.Array]) -> list[Values]:
        return [(value,) for value in columns[0].to_pylist()]

    def combine(self, earlier: Values, later: Values) -> Values:
        return later if len(later) == self._n else (earlier + later)[-self._n :]

    def result(self, partial: Values | None) -> list[Any] | None:
        return None if partial is None else list(partial)

    def pack(self, partial: Values) -> bytes:
        return bytes([_VERSION]) + msgspec.msgpack.encode(partial)

    def unpack(self, data: bytes) -> Values:
        return tuple(msgspec.msgpack.decode(data[1:]))
