"""Keyed state and timers of the micro-batches that a collector has open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec
from pyflink.common.typeinfo import Types
from pyflink.datastream import TimerService
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor


class KeyedBatchStore:
    """What `udfs.ensemble.collection.open_batch.BatchStore` asks for, for the micro-batch at hand.

    Several are open under one key. `at` must be called before a call that uses the store. Each call of Flink
    gives up the interpreter to the other operators of the slot, so there are few: nothing is read of what
    `open` has not named, and a key has one timer, for whoever wants to be woken first. `clock`: epoch ms.
    """

    def __init__(self, context: RuntimeContext, clock: Callable[[], float]) -> None:
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._states = context.get_map_state(MapStateDescriptor("batches", Types.STRING(), pickled))
        self._answers = context.get_map_state(MapStateDescriptor("answers", Types.STRING(), pickled))
        self._added: dict[str, list[bytes]] = {}  # as in state
        self._unread: set[str] = set()
        self._waking: defaultdict[str, dict[int, set[str]]] = defaultdict(dict)
        self._timer: dict[str, int] = {}
        self._clock = clock

    def at(self, key: str, batch_id: str, timers: TimerService) -> None:
        self._key, self._id, self._timers = key, batch_id, timers

    def open(self) -> list[str]:
        """The ids of all that is in state under the current key, asked for once after a start and at the
        end of the input."""
        ids = list(dict.fromkeys([*self._states.keys(), *self._answers.keys()]))
        self._unread.update(ids)
        return ids

    def due(self, key: str, at: int) -> list[str]:
        """The ids that asked to be woken until this time."""
        waking = self._waking[key]
        return [batch_id for time in sorted(t for t in waking if t <= at) for batch_id in waking.pop(time)]

    def again(self, key: str, at: int, timers: TimerService) -> None:
        """A timer of this time has come, and what was due is done: set the current key's next one."""
        if self._timer.get(key, at) <= at:
            self._timer.pop(key, None)
            if waking := self._waking[key]:
                self._timer[key] = min(waking)
                timers.register_processing_time_timer(self._timer[key])

    def now(self) -> int:
        return int(self._clock())

    def read(self) -> tuple[bytes | None, Sequence[bytes]]:
        if self._id not in self._unread:
            return None, ()
        self._unread.discard(self._id)
        state, answers = self._states.get(self._id), self._answers.get(self._id)
        found = [] if answers is None else msgspec.msgpack.decode(bytes(answers), type=list[bytes])
        if found:
            self._added[self._id] = found
        return None if state is None else bytes(state), tuple(found)

    def write(self, state: bytes) -> None:
        self._states.put(self._id, state)

    def add(self, answers: Sequence[bytes]) -> None:
        added = self._added.setdefault(self._id, [])
        added += answers
        self._answers.put(self._id, msgspec.msgpack.encode(added))

    def drop_answers(self) -> None:
        self._added.pop(self._id, None)
        self._answers.remove(self._id)

    def drop(self) -> None:
        self._states.remove(self._id)

    def wake(self, at: int) -> None:
        self._waking[self._key].setdefault(at, set()).add(self._id)
        if at < self._timer.get(self._key, at + 1):
            self._timer[self._key] = at
            self._timers.register_processing_time_timer(at)

    def let_sleep(self, at: int) -> None:
        waking = self._waking[self._key]
        if at in waking:
            waking[at].discard(self._id)
            if not waking[at]:
                del waking[at]
