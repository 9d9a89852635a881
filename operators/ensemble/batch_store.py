"""Keyed state and timers of the micro-batches that a collector has open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from pyflink.common.typeinfo import Types
from pyflink.datastream import TimerService
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor


class KeyedBatchStore:
    """What `udfs.ensemble.collection.open_batch.BatchStore` asks for, for the micro-batch at hand.

    Several are open under one key. `at` must be called before a call that uses the store.
    """

    def __init__(self, context: RuntimeContext) -> None:
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._states = context.get_map_state(MapStateDescriptor("batches", Types.STRING(), pickled))
        self._answers = context.get_map_state(MapStateDescriptor("answers", Types.STRING(), pickled))
        self._added: dict[str, list[bytes]] = {}  # as in state
        self._waking: dict[tuple[str, int], set[str]] = {}

    def at(self, key: str, batch_id: str, timers: TimerService) -> None:
        self._key, self._id, self._timers = key, batch_id, timers

    def open(self) -> list[str]:
        """The ids of all that is in state under the current key."""
        return list(dict.fromkeys([*self._states.keys(), *self._answers.keys()]))

    def due(self, key: str, at: int) -> Iterator[str]:
        """The ids that asked to be woken at this time."""
        yield from self._waking.pop((key, at), ())

    def now(self) -> int:
        return self._timers.current_processing_time()

    def read(self) -> tuple[bytes | None, Sequence[bytes]]:
        state, answers = self._states.get(self._id), self._answers.get(self._id)
        found = [] if answers is None else msgspec.msgpack.decode(bytes(answers), type=list[bytes])
        if found:
            self._added[self._id] = found
        return None if state is None else bytes(state), tuple(found)

    def write(self, state: bytes) -> None:
        self._states.put(self._id, state)

    def add(self, answer: bytes) -> None:
        added = self._added.setdefault(self._id, [])
        added.append(answer)
        self._answers.put(self._id, msgspec.msgpack.encode(added))

    def drop_answers(self) -> None:
        self._added.pop(self._id, None)
        self._answers.remove(self._id)

    def drop(self) -> None:
        self._states.remove(self._id)

    def wake(self, at: int) -> None:
        waking = self._waking.setdefault((self._key, at), set())
        waking.add(self._id)
        if len(waking) == 1:
            self._timers.register_processing_time_timer(at)

    def let_sleep(self, at: int) -> None:
        waking = self._waking.get((self._key, at))
        if waking is None:
            return
        waking.discard(self._id)
        if not waking:
            del self._waking[self._key, at]
            self._timers.delete_processing_time_timer(at)
