"""A reference as it was: of each key the rows that events may see which are not final yet."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import StoreError
from schemas.features.declarations import FeatureType, Reference
from schemas.features.feature_batch import ARROW, EVENT_ID, EVENT_TIME, marked_reference
from udfs.features.base import Fetch, no_state
from udfs.features.entity_keys import pack_entity, unpack_entity

_FORMAT = 1

Version = tuple[int, bytes | None]
"""Event time, and the row as bytes; None: deleted."""


class Versions:
    """Of one reference. `columns`: those that count, in order; rows come with these, the key, `deleted` where
    the reference has it, and `__event_time`.

    Of two rows of one key and time any counts before a deletion, and else the greater as bytes: no order of
    arrival is known in batch. State is an entry a key, fetched when the key is touched; without `fetch` all
    is in memory.
    """

    def __init__(self, reference: Reference, columns: Sequence[str], fetch: Fetch = no_state) -> None:
        types = {c.name: c.type for c in reference.columns}
        self._reference, self._fetch = reference, fetch
        self._columns: list[tuple[str, FeatureType]] = [(name, types[name]) for name in columns]
        self._of: dict[bytes, list[Version]] = {}
        self._dirty = set[bytes]()
        self._superseded: dict[bytes, int] = {}
        """Key -> the watermark from which on one of its versions is of no use."""

    def take(self, rows: pa.RecordBatch) -> None:
        """Rows in any order, late ones too: they count for what is not final yet."""
        keys = [pack_entity((value,)) for value in rows.column(self._reference.key).to_pylist()]
        times = rows.column(EVENT_TIME).to_pylist()
        columns = [rows.column(name).to_pylist() for name, _ in self._columns]
        values = zip(*columns, strict=True) if columns else iter([()] * rows.num_rows)
        packed: list[bytes | None] = [msgspec.msgpack.encode(row) for row in values]
        if self._reference.deleted:
            gone = rows.column(self._reference.deleted).to_pylist()
            packed = [None if deleted else row for row, deleted in zip(packed, gone, strict=True)]
        self._load(keys)
        for key, time, row in zip(keys, times, packed, strict=True):
            self._put(key, time, row)

    def as_of(self, keys: pa.Array, times: NDArray[np.int64]) -> dict[str, pa.Array]:
        """Of n keys and times: each column's values in the newest row at or before; null where there is none
        or it is deleted, and where the key is null."""
        encoded = keys.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        wanted = [pack_entity((value,)) for value in encoded.dictionary.to_pylist()]
        self._load(wanted)
        lists = [self._versions(key) for key in wanted]
        counts = np.array([0, *map(len, lists)], np.int64)  # the first for null keys
        starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
        known = [version for versions in lists for version in versions]
        at = np.array([time for time, _ in known], np.int64)
        found = _newest(np.repeat(np.arange(len(counts)), counts), at, codes + 1, times)
        has = found >= starts[codes + 1]
        used = np.unique(found[has])
        rows = [known[index][1] for index in used.tolist()]
        width = len(self._columns)
        values = [[None] * width if row is None else msgspec.msgpack.decode(row) for row in rows]
        index = pa.array(np.searchsorted(used, found), mask=~has)
        return {
            name: pa.array([row[place] for row in values], ARROW[kind]).take(index)
            for place, (name, kind) in enumerate(self._columns)
        }

    def changes(self, watermark: int | None = None) -> dict[bytes, bytes | None]:
        """What must be written of keys whose versions changed, or of which the watermark has made some
        useless: what an event after it sees is the newest at or before it, and all later ones."""
        found: dict[bytes, bytes | None] = {}
        due = list[bytes]()
        if watermark is not None:
            due = [key for key, at in self._superseded.items() if at <= watermark]
        self._load(due)
        for key in {*self._dirty, *due}:
            versions = self._versions(key)
            if watermark is not None:
                first = max(bisect_right(versions, watermark, key=_time) - 1, 0)
                if versions and versions[first][0] <= watermark and versions[first][1] is None:
                    first += 1
                del versions[:first]
                self._note(key, versions)
            if not versions:
                self._of.pop(key, None)
            found[key] = msgspec.msgpack.encode((_FORMAT, versions)) if versions else None
        self._dirty.clear()
        return found

    def restored(self, entries: Iterable[tuple[bytes, bytes]]) -> pa.RecordBatch:
        """The rows that make up what was written of these keys, marked; their ids are empty."""
        reference, found = self._reference, list[tuple[Any, int, bytes | None]]()
        for key, packed in entries:
            versions = self._unpack(packed)
            self._note(key, versions)
            found += [(unpack_entity(key)[0], time, row) for time, row in versions]
        nothing = [None] * len(self._columns)
        values = [nothing if row is None else msgspec.msgpack.decode(row) for _, _, row in found]
        types = {c.name: c.type for c in reference.columns}
        made = {reference.key: pa.array([key for key, _, _ in found], ARROW[types[reference.key]])}
        made |= {
            name: pa.array([row[place] for row in values], ARROW[kind])
            for place, (name, kind) in enumerate(self._columns)
            if name != reference.key
        }
        if reference.deleted:
            made[reference.deleted] = pa.array([row is None for _, _, row in found], pa.bool_())
        made[EVENT_TIME] = pa.array([time for _, time, _ in found], pa.int64())
        made[EVENT_ID] = pa.array([""] * len(found), pa.string())
        return marked_reference(pa.RecordBatch.from_pydict(made), reference.name)

    def evict(self, most: int) -> None:
        """Keep at most so many keys in memory, those touched last; only after `changes` was written."""
        for key in [*self._of][: max(len(self._of) - most, 0)]:
            if key not in self._dirty:
                del self._of[key]

    def _put(self, key: bytes, time: int, row: bytes | None) -> None:
        versions = self._versions(key)
        place = bisect_left(versions, time, key=_time)
        if place < len(versions) and versions[place][0] == time:
            there = versions[place][1]
            if row is None or (there is not None and there >= row):
                return
            versions[place] = time, row
        else:
            versions.insert(place, (time, row))
        self._of[key] = versions
        self._dirty.add(key)
        self._note(key, versions)

    def _note(self, key: bytes, versions: Sequence[Version]) -> None:
        useless = [versions[1][0]] if len(versions) > 1 else []
        useless += [versions[0][0]] if versions and versions[0][1] is None else []
        if useless:
            self._superseded[key] = min(useless)
        else:
            self._superseded.pop(key, None)

    def _load(self, keys: Iterable[bytes]) -> None:
        """Have what is stored of these keys in memory."""
        new = [key for key in dict.fromkeys(keys) if key not in self._of]
        for key, packed in zip(new, self._fetch(new) if new else (), strict=True):
            if packed is not None:
                self._of[key] = self._unpack(packed)

    def _versions(self, key: bytes) -> list[Version]:
        """Of a key that is in memory where it is stored. It is the last to have been touched now."""
        found = self._of.pop(key, None)
        if not found:
            return []
        self._of[key] = found
        return found

    def _unpack(self, packed: bytes) -> list[Version]:
        form, versions = msgspec.msgpack.decode(packed)
        if form != _FORMAT:
            raise StoreError(
                f"state of reference {self._reference.name} has format {form}, this reads {_FORMAT}"
            )
        return [(time, row) for time, row in versions]


def _time(version: Version) -> int:
    return version[0]


def _newest(
    codes: NDArray[np.int64], at: NDArray[np.int64], wanted: NDArray[np.int64], times: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Of versions in order of (code, time): for each wanted code and time the last at or before it, or one of
    an earlier code, or -1. Both become one number, so that one search finds all."""
    ranks = np.unique(np.concatenate([at, times]))
    span = len(ranks) + 1
    have = codes * span + np.searchsorted(ranks, at)
    want = wanted * span + np.searchsorted(ranks, times)
    return np.searchsorted(have, want, side="right") - 1
