"""Keyed state and timers of the micro-batches that a collector has open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

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
        self._times: defaultdict[str, list[int]] = defaultdict(list)  # heaps of the times of `_waking`
        self._timer: dict[str, int] = {}
        self._clock = clock

    def at(self, key: str, batch_id: str, timers: TimerService, reached: int = 0) -> None:
        """`reached`: the time of the timer that has fired, before which it is not, whatever the clock says:
        Flink fires one that is set for that time again at once, until a clock that was set back is there."""
        self._key, self._id, self._timers, self._reached = key, batch_id, timers, reached

    def open(self) -> list[str]:
        """The ids of all that is in state under the current key, asked for once after a start and at the
        end of the input."""
        ids = list(dict.fromkeys([*self._states.keys(), *self._answers.keys()]))
        self._unread.update(ids)
        return ids

    def due(self, key: str, at: int) -> list[str]:
        """The ids that asked to be woken until this time."""
        waking, times = self._waking[key], self._times[key]
        found: list[str] = []
        while times and (times[0] <= at or times[0] not in waking):
            found += waking.pop(heappop(times), ())
        return found

    def again(self, key: str, at: int, timers: TimerService) -> None:
        """A timer of this time has come, and what was due is done: set the current key's next one."""
        if self._timer.get(key, at) <= at:
            self._timer.pop(key, None)
            if times := self._times[key]:
                self._timer[key] = times[0]
                timers.register_processing_time_timer(self._timer[key])

    def now(self) -> int:
        return max(int(self._clock()), self._reached)

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
        waking = self._waking[self._key]
        if at not in waking:
            waking[at] = set()
            heappush(self._times[self._key], at)
        waking[at].add(self._id)
        if at < self._timer.get(self._key, at + 1):
            self._timer[self._key] = at
            self._timers.register_processing_time_timer(at)

    def let_sleep(self, at: int) -> None:
        waking = self._waking[self._key]
        if at in waking:
            waking[at].discard(self._id)
            if not waking[at]:
                del waking[at]
