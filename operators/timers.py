"""Timers of keyed operators: one now and then, and one at the end of a finite input."""

from __future__ import annotations

from pyflink.datastream import TimerService

# A timer in event time that fires once, when a finite input has ended: timers in processing time
# never fire then, and what is still buffered would be lost without a word.
END_OF_INPUT = 2**63 - 1

_SOON_MS = 10


class KeyTimers:
    """The timers of an operator's keys, every `every_ms` of processing time."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._next: dict[str, int] = {}

    def start(self, key: str, timers: TimerService) -> None:
        """Set the current key's timers, unless they are set. After a restart none is known: see `again`."""
        if key not in self._next:
            timers.register_event_time_timer(END_OF_INPUT)
            self.again(key, timers)

    def runs(self, key: str) -> bool:
        """Whether the key's timers were set since the start of this instance."""
        return key in self._next

    def stop(self, key: str, timers: TimerService) -> None:
        """Take the current key's timers back, until it is started again."""
        timers.delete_event_time_timer(END_OF_INPUT)
        timers.delete_processing_time_timer(self._next.pop(key))

    def due(self, key: str, timestamp: int) -> bool:
        """Whether a timer of this time is the key's timer, and not one set for something else."""
        return timestamp >= self._next[key]

    def again(self, key: str, timers: TimerService, fired: int = 0) -> None:
        """Set the current key's next timer. `fired`: as of `time_now`."""
        # Aligned, so that a timer that came back with the state and a new one are the same timer.
        at = self._next[key] = _aligned(self._every_ms, timers, fired)
        timers.register_processing_time_timer(at)

    def soon(self, timers: TimerService, fired: int = 0) -> None:
        """Set a timer of the current key for something that may end at any moment."""
        # Aligned, so that all who ask for one in the same 10 ms get one.
        timers.register_processing_time_timer(_aligned(_SOON_MS, timers, fired))


def time_now(timers: TimerService, fired: int = 0) -> int:
    """The processing time in ms, and never before the timer that has fired, if one has: Flink fires one that
    is set for no later time at once, again and again until a clock that was set back is there."""
    now = timers.current_processing_time()
    return max(now, fired) if fired < END_OF_INPUT else now


def _aligned(every_ms: int, timers: TimerService, fired: int) -> int:
    return (time_now(timers, fired) // every_ms + 1) * every_ms
