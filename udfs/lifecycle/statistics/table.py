"""Statistics of records: of a training file, a window, or the share of one instance of either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StatisticsError
from udfs.lifecycle.statistics.bins import Bins
from udfs.lifecycle.statistics.feature import ABSENT, FeatureStatistics

VERSION = 1
"""Of the bytes in which statistics are kept. Raised when older readers could not read them."""

_ARRAY = tuple[str, bytes]


class TableStatistics(msgspec.Struct):
    """Feature name -> statistics, over `rows` records; a feature that appears late was absent before."""

    features: dict[str, FeatureStatistics] = msgspec.field(default_factory=dict)
    rows: int = 0

    @classmethod
    def counted_in(cls, bins: Mapping[str, Bins]) -> TableStatistics:
        """Nothing yet, to be counted in these bins by feature."""
        return cls({name: FeatureStatistics.counted_in(how) for name, how in bins.items()})

    def bins(self) -> dict[str, Bins]:
        return {name: feature.bins for name, feature in self.features.items()}

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Records as JSON has them. Fields that were not known before are counted without bins."""
        for name in dict.fromkeys(chain.from_iterable(records)):
            self._known(name)
        for feature, values in zip(
            self.features.values(), _columns(records, list(self.features)), strict=True
        ):
            feature.add(values)
        self.rows += len(records)

    def add_columns(self, columns: Mapping[str, NDArray]) -> None:
        """A micro-batch by columns of shape `(n,)`: numbers (NaN is null), or objects. Raises
        `StatisticsError` where columns differ in length."""
        rows = {len(column) for column in columns.values()}
        if len(rows) > 1:
            raise StatisticsError(f"the columns of a micro-batch have {sorted(rows)} rows: give one length")
        count = rows.pop() if rows else 0
        for name, column in columns.items():
            feature = self._known(name)
            if column.dtype.kind in "fiu":
                feature.add_numbers(column.astype(np.float64, copy=False))
            else:
                feature.add(column.tolist())
        for name, feature in self.features.items():
            if name not in columns:
                feature.rows += count
                feature.absent += count
        self.rows += count

    def merge(self, other: TableStatistics) -> None:
        """Take in what another instance or micro-batch counted, in the same bins."""
        for name, theirs in other.features.items():
            if name not in self.features:
                self.features[name] = FeatureStatistics.counted_in(theirs.bins)
                self._absent_so_far(name)
            self.features[name].merge(theirs)
        for name, ours in self.features.items():
            if name not in other.features:
                ours.rows += other.rows
                ours.absent += other.rows
        self.rows += other.rows

    def _known(self, name: str) -> FeatureStatistics:
        if name not in self.features:
            self.features[name] = FeatureStatistics.counted_in(Bins())
            self._absent_so_far(name)
        return self.features[name]

    def _absent_so_far(self, name: str) -> None:
        self.features[name].rows = self.features[name].absent = self.rows


def _columns(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterable[Sequence[Any]]:
    """The values of each name; all at once where all records have all names, as is mostly so."""
    if len(names) > 1 and records:
        with suppress(KeyError):
            return zip(*map(itemgetter(*names), records), strict=True)
    return ([record.get(name, ABSENT) for record in records] for name in names)


class _Saved(msgspec.Struct, tag_field="kind", tag="millrace-statistics"):
    version: int
    table: msgspec.Raw


def write_statistics(table: TableStatistics) -> bytes:
    """Msgpack with its version, for state and for files."""
    inside = msgspec.msgpack.encode(table, enc_hook=_plain)
    return msgspec.msgpack.encode(_Saved(VERSION, msgspec.Raw(inside)))


def read_statistics(data: bytes) -> TableStatistics:
    """What `write_statistics` wrote. Raises `StatisticsError` for other bytes and for a newer version."""
    try:
        saved = msgspec.msgpack.decode(data, type=_Saved)
        if saved.version > VERSION:
            raise StatisticsError(
                f"the statistics are of version {saved.version}, and this release reads {VERSION}: update it"
            )
        table = msgspec.msgpack.decode(saved.table, type=TableStatistics, dec_hook=_array)
        for name, feature in table.features.items():
            if not feature.fits():
                raise ValueError(f"the counts of {name!r} are not those of its bins")
        return table
    except (msgspec.MsgspecError, ValueError, TypeError) as e:
        raise StatisticsError(f"these are no statistics ({e}): make them with millrace profile") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.tobytes()]
    raise TypeError(f"{type(value).__name__} cannot be written")


def _array(kind: type, value: Any) -> Any:
    dtype, data = msgspec.convert(value, _ARRAY)
    if kind is not np.ndarray or dtype not in ("<i8", "|u1"):
        raise ValueError(f"{dtype} is no array of counts")
    return np.frombuffer(data, dtype).copy()
