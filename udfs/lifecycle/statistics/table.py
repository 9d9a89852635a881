"""Statistics of records: of a training file, a window, or the share of one instance of either."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StatisticsError
from udfs.lifecycle.statistics.bins import Bins
from udfs.lifecycle.statistics.feature import FeatureStatistics

VERSION = 1
"""Of the bytes in which statistics are kept. Raised when older readers could not read them."""

LONGEST_FIELD = 256
"""Characters of a name that a feature of a stream may have, where the number of features is bounded."""
_NO_BINS = Bins()
_ARRAY = tuple[str, bytes]


class TableStatistics(msgspec.Struct, omit_defaults=True):
    """Feature name -> statistics, over `rows` records; a feature that appears late was absent before.

    `most`: features that there may be; None: any number. What has no bins and comes after them, or has a name
    longer than `LONGEST_FIELD` characters, is counted in `others` alone: values of any such field. Where
    there are some, a feature without bins may have been present in more records than it says, for of another
    instance it was one of these.
    """

    features: dict[str, FeatureStatistics] = msgspec.field(default_factory=dict)
    rows: int = 0
    others: int = 0
    most: int | None = None

    @classmethod
    def counted_in(cls, bins: Mapping[str, Bins], more: int | None = None) -> TableStatistics:
        """Nothing yet, to be counted in these bins by feature. `more`: features beyond these that there may
        be; None: any number."""
        counted = {name: FeatureStatistics.counted_in(how) for name, how in bins.items()}
        return cls(counted, most=None if more is None else len(counted) + more)

    def bins(self) -> dict[str, Bins]:
        return {name: feature.bins for name, feature in self.features.items()}

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Records as JSON has them. Fields that were not known before are counted without bins.

        The cost is that of the values that there are.
        """
        for name, values in columns_of(records).items():
            if (feature := self._known(name)) is None:
                self.others += len(values)
                continue
            feature.add(values)
        self._added(len(records))

    def add_columns(self, columns: Mapping[str, NDArray]) -> None:
        """A micro-batch by columns of shape `(n,)`: numbers (NaN is null), or objects. Raises
        `StatisticsError` where columns differ in length."""
        rows = {len(column) for column in columns.values()}
        if len(rows) > 1:
            raise StatisticsError(f"the columns of a micro-batch have {sorted(rows)} rows: give one length")
        count = rows.pop() if rows else 0
        for name, column in columns.items():
            if (feature := self._known(name)) is None:
                self.others += count
            elif column.dtype.kind in "fiu":
                feature.add_numbers(column.astype(np.float64, copy=False))
            else:
                feature.add(column.tolist())
        self._added(count)

    def merge(self, other: TableStatistics) -> None:
        """Take in what another instance or micro-batch counted, in the same bins."""
        self.others += other.others
        for name, theirs in other.features.items():
            if (ours := self._known(name, theirs.bins)) is None:
                self.others += theirs.rows - theirs.absent
            else:
                ours.merge(theirs)
        self._added(other.rows)

    def _added(self, rows: int) -> None:
        self.rows += rows
        for feature in self.features.values():
            feature.add_absent(self.rows - feature.rows)

    def _known(self, name: str, bins: Bins = _NO_BINS) -> FeatureStatistics | None:
        """The feature of that name, a new one too; None where there may be no more."""
        found = self.features.get(name)
        if found is None and bins == _NO_BINS and self._is_other(name):
            return None
        if found is None:
            found = self.features[name] = FeatureStatistics.counted_in(bins)
            found.add_absent(self.rows)
        return found

    def _is_other(self, name: str) -> bool:
        return self.most is not None and (len(self.features) >= self.most or len(name) > LONGEST_FIELD)


def columns_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
    """The values of each name, of the records that have it; all at once where all records have the same
    names, as is mostly so."""
    if not records:
        return {}
    names = list(records[0])
    if len(names) > 1 and {len(names)}.issuperset(map(len, records)):
        with suppress(KeyError):
            return dict(zip(names, zip(*map(itemgetter(*names), records), strict=True), strict=True))
    columns: defaultdict[str, list[Any]] = defaultdict(list)
    for record in records:
        for name, value in record.items():
            columns[name].append(value)
    return dict(columns)


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
        saved = _SAVED_DECODER.decode(data)
        if saved.version > VERSION:
            raise StatisticsError(
                f"the statistics are of version {saved.version}, and this release reads {VERSION}: update it"
            )
        table = _TABLE_DECODER.decode(saved.table)
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


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_SAVED_DECODER = msgspec.msgpack.Decoder(_Saved)
_TABLE_DECODER = msgspec.msgpack.Decoder(TableStatistics, dec_hook=_array)
