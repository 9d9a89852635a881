"""Keyed state of predictions and outcomes that wait for each other, and of what is due when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

import msgspec
from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from operators.flink_internals import change_map
from operators.key_groups import KeyGroups
from operators.own_groups import OwnGroups
from udfs.lifecycle.outcomes.fates import Fates, decode_fates, encode_fates


class OutcomeState:
    """What `udfs.lifecycle.outcomes.joining.EntryStore` asks for, of the key groups of one instance.

    Which reminders there are is kept in memory too: reading them all for each timer would cost a pass over
    state. Fates lie with the key group that an instance works under: at another parallelism an instance may
    have those of others, which nobody changes any more.
    """

    def __init__(self, context: RuntimeContext, groups: KeyGroups) -> None:
        text, pickled = Types.STRING(), Types.PICKLED_BYTE_ARRAY()
        self._entries = context.get_map_state(MapStateDescriptor("predictions", text, pickled))
        self._reminders = context.get_map_state(MapStateDescriptor("reminders", text, pickled))
        self._fates = context.get_state(ValueStateDescriptor("fates", pickled))
        self.groups = OwnGroups(context, groups)
        self._due: dict[str, list[tuple[int, int, int]]] = {}
        self._number = 0

    def load(self) -> dict[int, Fates]:
        """Take up what the key groups hold, once; the fates by key group."""
        fates = {}
        for group in self.groups.own:
            self.groups.enter(group)
            for name in self._reminders.keys():  # noqa: SIM118 - a state, not a dict
                kind, due, number = str(name).split("/")
                self._due.setdefault(kind, []).append((int(due), group, int(number)))
                self._number = max(self._number, int(number) + 1)
            if (kept := self._fates.value()) is not None:
                fates[group] = decode_fates(bytes(kept))
        for heap in self._due.values():
            heapify(heap)
        return fates

    def read(self, group: int, keys: Sequence[str]) -> Sequence[bytes | None]:
        self.groups.enter(group)
        return [self._entries.get(key) for key in keys]

    def write(self, group: int, changes: Mapping[str, bytes | None]) -> None:
        self.groups.enter(group)
        change_map(self._entries, changes)

    def remind(self, kind: str, due: int, group: int, keys: list[str]) -> None:
        self.groups.enter(group)
        self._reminders.put(f"{kind}/{due}/{self._number}", msgspec.msgpack.encode(keys))
        heappush(self._due.setdefault(kind, []), (due, group, self._number))
        self._number += 1

    def due(self, kind: str, reached: int) -> Iterator[tuple[int, list[str]]]:
        heap = self._due.get(kind, [])
        while heap and heap[0][0] <= reached:
            due, group, number = heappop(heap)
            name = f"{kind}/{due}/{number}"
            self.groups.enter(group)
            keys = msgspec.msgpack.decode(bytes(self._reminders.get(name)), type=list[str])
            self._reminders.remove(name)
            yield group, keys

    def keep_fates(self, fates: Fates) -> None:
        """Those of this instance."""
        self.groups.enter(self.groups.own.start)
        self._fates.update(encode_fates(fates))
