"""Keyed state of predictions and outcomes that wait for each other, and of what is due when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

import msgspec
from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from operators.grouped_map import GroupedMap
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
        self.groups = OwnGroups(context, groups)
        self._entries = GroupedMap(context, self.groups, "predictions")
        self._reminders = GroupedMap(context, self.groups, "reminders")
        self._fates = context.get_state(ValueStateDescriptor("fates", Types.PICKLED_BYTE_ARRAY()))
        self.read, self.write = self._entries.read, self._entries.change
        self._due: dict[str, list[tuple[int, int, int]]] = {}
        self._number = 0

    def load(self) -> dict[int, Fates]:
        """Take up what the key groups hold, once; the fates by key group."""
        fates = {}
        for group in self.groups.own:
            self.groups.enter(group)
            for name in self._reminders.names(group):
                kind, due, number = name.split("/")
                self._due.setdefault(kind, []).append((int(due), group, int(number)))
                self._number = max(self._number, int(number) + 1)
            if (kept := self._fates.value()) is not None:
                fates[group] = decode_fates(bytes(kept))
        for heap in self._due.values():
            heapify(heap)
        return fates

    def remind(self, reminders: Mapping[tuple[str, int, int], Sequence[str]]) -> None:
        changes: dict[int, dict[str, bytes | None]] = {}
        for (kind, due, group), keys in reminders.items():
            changes.setdefault(group, {})[f"{kind}/{due}/{self._number}"] = msgspec.msgpack.encode(keys)
            heappush(self._due.setdefault(kind, []), (due, group, self._number))
            self._number += 1
        self._reminders.change(changes)

    def due(self, kind: str, reached: int) -> Iterator[tuple[int, list[str]]]:
        heap = self._due.get(kind, [])
        while heap and heap[0][0] <= reached:
            due, group, number = heappop(heap)
            name = f"{kind}/{due}/{number}"
            (packed,) = self._reminders.read({group: [name]})[group]
            assert packed is not None  # as `self._due` says
            self._reminders.change({group: {name: None}})
            yield group, msgspec.msgpack.decode(packed, type=list[str])

    def keep_fates(self, fates: Fates) -> None:
        """Those of this instance."""
        self.groups.enter(self.groups.own.start)
        self._fates.update(encode_fates(fates))
