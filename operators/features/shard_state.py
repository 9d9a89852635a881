"""Flink state of one view over one shard: header, entities, and the journal of calls since."""

from __future__ import annotations

import struct
import time
from collections import defaultdict
from collections.abc import Callable

import pyarrow as pa
from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor, ValueStateDescriptor

from schemas.errors import StoreError
from schemas.features.feature_block import from_bytes, to_bytes
from udfs.features.base import END, ViewEngine

_ADD, _SETTLE = b"a", b"s"
_TIMES = struct.Struct("<qq")
_SPREAD = (5**0.5 - 1) / 2
"""Multiples of the golden ratio lie apart, however many there are."""
_FORGET_MS = 3_600_000
"""Entities are looked at, whether they can be forgotten, in steps of so much event time."""


class ShardState:
    """All calls concern the key at hand. The engine's calls go through `add` and `settle`, or are lost.

    A journal entry is a tag and the arguments. `since` and `size` are of the journals, by key.
    """

    def __init__(self, context: RuntimeContext, shards: int) -> None:
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._shards = shards
        self._written_by = context.get_state(ValueStateDescriptor("shards", Types.LONG()))
        self._header = context.get_state(ValueStateDescriptor("header", pickled))
        self._entities = context.get_map_state(MapStateDescriptor("entities", Types.STRING(), pickled))
        self._journal = context.get_list_state(ListStateDescriptor("journal", pickled))
        self._forget = context.get_map_state(MapStateDescriptor("forget", Types.LONG(), pickled))
        self._size: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._phases: dict[str, float] = {}
        self._swept: dict[str, int] = {}

    def fetch(self, key: bytes) -> bytes | None:
        """See `udfs.features.base.Fetch`."""
        found = self._entities.get(_name(key))
        return None if found is None else found[0]

    def restore(self, key: str, make: Callable[[], ViewEngine]) -> ViewEngine:
        """The engine as it was when the state was written, and after what the journal says.

        Raises `StoreError` where entities were spread over another number of shards.
        """
        before = self._written_by.value()
        if before is None:
            self._written_by.update(self._shards)
        elif before != self._shards:
            raise StoreError(
                f"the state of {key} was written with {before} shards, but {self._shards} are set now: their "
                "number is fixed for the life of the state"
            )
        engine = make()
        header = self._header.value()
        if header is not None:
            engine.load(header)
        for entry in self._journal.get() or ():
            if entry[:1] == _ADD:
                engine.add(from_bytes(entry[1:]))
            else:
                engine.settle(*_TIMES.unpack(entry[1:]))
            self._noted(key, len(entry))
        return engine

    def add(self, key: str, events: pa.RecordBatch) -> None:
        entry = _ADD + to_bytes(events)
        self._journal.add(entry)
        self._noted(key, len(entry))

    def settle(self, key: str, watermark: int, created: int) -> None:
        self._journal.add(_SETTLE + _TIMES.pack(watermark, created))
        self._noted(key, 1 + _TIMES.size)

    def overdue(self, key: str, flush_bytes: int, flush_ms: int) -> bool:
        """Whether the journal should give way to what has changed. Keys have phases of their own: all of them
        at once would hold up whatever else is to be done."""
        since = self._since.get(key)
        if since is None:
            return False
        if self._size[key] >= flush_bytes or not flush_ms:
            return True
        phase = self._phases.setdefault(key, len(self._phases) * _SPREAD)
        then, now = (t * 1000 / flush_ms + phase for t in (since, time.monotonic()))
        return int(now) > int(then)

    def flush(self, key: str, engine: ViewEngine) -> None:
        """Write what has changed, and clear the journal. All of it is one call of a Flink function, so that a
        checkpoint has either."""
        changes = engine.changes()
        if changes.header is not None:
            self._header.update(changes.header)
        kept = {_name(entity): packed for entity, packed in changes.entities.items() if packed is not None}
        if kept:
            self._entities.put_all(kept)
            self._remember(kept)
        for entity, packed in changes.entities.items():
            if packed is None:
                self._entities.remove(_name(entity))
        self._journal.clear()
        self._size.pop(key, None)
        self._since.pop(key, None)

    def sweep(self, key: str, watermark: int) -> None:
        """Forget entities that time alone has emptied. Only right after `flush`: state must be current."""
        step = watermark // _FORGET_MS
        if watermark == END or self._swept.get(key) == step:
            return
        self._swept[key] = step
        buckets = self._forget.keys()
        for bucket in [b for b in buckets if b <= step]:
            for entity in self._forget.get(bucket):
                found = self._entities.get(entity)
                if found is not None and found[1] <= watermark:
                    self._entities.remove(entity)
            self._forget.remove(bucket)

    def _remember(self, kept: dict[str, tuple[bytes, int]]) -> None:
        buckets = defaultdict[int, set[str]](set)
        for entity, (_, empty_at) in kept.items():
            if empty_at == END:
                continue
            buckets[empty_at // _FORGET_MS + 1].add(entity)
        for bucket, entities in buckets.items():
            known = self._forget.get(bucket)
            if known is None or not entities <= known:
                self._forget.put(bucket, entities | (known or set()))

    def _noted(self, key: str, length: int) -> None:
        self._size[key] = self._size.get(key, 0) + length
        self._since.setdefault(key, time.monotonic())


def _name(entity: bytes) -> str:
    """As a key of map state: Java's byte arrays equal nothing but themselves, and would never be found."""
    return entity.decode("latin-1")
