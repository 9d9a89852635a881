"""Timers of keyed operators: a tick now and then, and one at the end of a finite input."""

from __future__ import annotations

from pyflink.datastream import TimerService
from pyflink.datastream.functions import RuntimeContext

# A timer in event time that fires once, when a finite input has ended: timers in processing time
# never fire then, and what is still held back would be lost without a word.
END_OF_INPUT = 2**63 - 1


class Ticks:
    """The timers of an operator's keys, every `every_ms` of processing time."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._ticking: set[str] = set()

    def start(self, key: str, timers: TimerService) -> None:
        """Set the key's timers, unless they are set. After a restart the set is empty: see `again`."""
        if key not in self._ticking:
            self._ticking.add(key)
            timers.register_event_time_timer(END_OF_INPUT)
            self.again(timers)

    def again(self, timers: TimerService) -> None:
        """Set the current key's next tick."""
        # Aligned, so that a timer that came back with the state and a new one are the same timer.
        every = self._every_ms
        timers.register_processing_time_timer((timers.current_processing_time() // every + 1) * every)


def subtask_of(context: RuntimeContext) -> int:
    """PyFlink 2.3's thread mode asks Java for a method that Flink 2 moved to the task's info."""
    java = getattr(context, "_runtime_context", None)
    if java is None:
        return context.get_index_of_this_subtask()
    return java.getTaskInfo().getIndexOfThisSubtask()
