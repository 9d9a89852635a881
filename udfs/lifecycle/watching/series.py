"""What is counted together, and the partial sums that instances send."""

from __future__ import annotations

import msgspec

from schemas.versioned import read_versioned
from udfs.lifecycle.drift.alerts import Outlier
from udfs.lifecycle.statistics.table import TableStatistics, read_statistics, write_statistics

VERSION = 1
SCORES = "scores."
"""Before the names of scores, so that they and a record's fields do not meet."""
UNTIMED = -1
"""The window of records that have no time."""


class Series(msgspec.Struct, frozen=True, array_like=True):
    """A data type's records (`model` is empty), or the results of one model version.

    `training`: the digest of the statistics that it is counted in the bins of; empty where there are none.
    """

    data_type: str
    model: str = ""
    version: int = 0
    training: str = ""

    @property
    def key(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def of_key(cls, key: str) -> Series:
        return _SERIES_DECODER.decode(key)


class PartialWindow(msgspec.Struct, kw_only=True):
    """What one instance has counted of one window since it last sent. `unreadable`: records that are none.

    `start`: of the window, event time in ms, or `UNTIMED`. `broken`: records by rule; of them, `outliers`
    are shown.
    """

    start: int
    statistics: TableStatistics
    unreadable: int = 0
    broken: dict[str, int] = {}
    outliers: list[Outlier] = []


class _Packed(msgspec.Struct, array_like=True):
    version: int
    start: int
    statistics: bytes
    unreadable: int
    broken: dict[str, int]
    outliers: list[Outlier]


def write_partial(partial: PartialWindow) -> bytes:
    packed = _Packed(
        VERSION,
        partial.start,
        write_statistics(partial.statistics),
        partial.unreadable,
        partial.broken,
        partial.outliers,
    )
    return msgspec.msgpack.encode(packed)


_PACKED = msgspec.msgpack.Decoder(_Packed)
_SERIES_DECODER = msgspec.json.Decoder(Series)


def read_partial(data: bytes) -> PartialWindow:
    """What `write_partial` wrote. Raises `StateError` for other bytes."""
    packed = read_versioned(_PACKED.decode, data, "part of a window", VERSION)
    return PartialWindow(
        start=packed.start,
        statistics=read_statistics(packed.statistics),
        unreadable=packed.unreadable,
        broken=packed.broken,
        outliers=packed.outliers,
    )
