"""Keyed state of predictions and outcomes that wait for each other, and of what is due when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

import msgspec
from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from operators.flink_internals import change_map
from udfs.lifecycle.outcomes.fates import Fates, decode_fates, encode_fates


class OutcomeState:
    """What `udfs.lifecycle.outcomes.joining.EntryStore` asks for, for the shard at hand (`at`).

    Which reminders there are is kept in memory too: reading them all for each timer would cost a pass over
    state.
    """

    def __init__(self, context: RuntimeContext) -> None:
        text, pickled = Types.STRING(), Types.PICKLED_BYTE_ARRAY()
        self._entries = context.get_map_state(MapStateDescriptor("predictions", text, pickled))
        self._reminders = context.get_map_state(MapStateDescriptor("reminders", text, pickled))
        self._fates = context.get_state(ValueStateDescriptor("fates", pickled))
        self._known: dict[str, dict[str, list[tuple[int, int]]]] = {}
        self._numbers: dict[str, int] = {}

    def at(self, key: str) -> None:
        """`key`: the current one."""
        self._key = key
        if key in self._known:
            return
        found: dict[str, list[tuple[int, int]]] = {}
        for name in self._reminders.keys():  # noqa: SIM118 - a state, not a dict
            kind, due, number = str(name).split("/")
            found.setdefault(kind, []).append((int(due), int(number)))
        for heap in found.values():
            heapify(heap)
        self._known[key] = found
        self._numbers[key] = max((n for heap in found.values() for _, n in heap), default=-1) + 1

    def read(self, key: str) -> bytes | None:
        found = self._entries.get(key)
        return None if found is None else bytes(found)

    def write(self, entries: dict[str, bytes], emptied: Iterable[str]) -> None:
        change_map(self._entries, entries | dict.fromkeys(emptied))

    def remind(self, kind: str, due: int, keys: list[str]) -> None:
        number = self._numbers[self._key]
        self._numbers[self._key] = number + 1
        self._reminders.put(f"{kind}/{due}/{number}", msgspec.msgpack.encode(keys))
        heappush(self._known[self._key].setdefault(kind, []), (due, number))

    def due(self, kind: str, reached: int) -> Iterator[list[str]]:
        heap = self._known[self._key].get(kind, [])
        while heap and heap[0][0] <= reached:
            due, number = heappop(heap)
            name = f"{kind}/{due}/{number}"
            keys = msgspec.msgpack.decode(bytes(self._reminders.get(name)), type=list[str])
            self._reminders.remove(name)
            yield keys

    def fates(self) -> Fates:
        kept = self._fates.value()
        return Fates() if kept is None else decode_fates(bytes(kept))

    def keep_fates(self, fates: Fates) -> None:
        self._fates.update(encode_fates(fates))
