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

    def due(self, key: str, timestamp: int) -> bool:
        """Whether a timer of this time is the key's timer, and not one set for something else."""
        return timestamp >= self._next[key]

    def again(self, key: str, timers: TimerService, fired: int = 0) -> None:
        """Set the current key's next timer. `fired`: the time of the one that has fired, which it is behind:
        Flink fires one that is set for no later time at once, again and again until a clock that was set back
        is there."""
        # Aligned, so that a timer that came back with the state and a new one are the same timer.
        every, now = self._every_ms, timers.current_processing_time()
        if fired < END_OF_INPUT:
            now = max(now, fired)
        at = self._next[key] = (now // every + 1) * every
        timers.register_processing_time_timer(at)

    def soon(self, timers: TimerService) -> None:
        """Set a timer of the current key for something that may end at any moment."""
        # Aligned, so that all who ask for one in the same 10 ms get one.
        timers.register_processing_time_timer((timers.current_processing_time() // _SOON_MS + 1) * _SOON_MS)
