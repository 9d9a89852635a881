"""How far a topic has been read: what is due before that may be given up."""

from __future__ import annotations

from collections.abc import Mapping

END = 2**63 - 1
"""Of a finite input."""


class Reached:
    """The least time up to which an active partition was read; now, where all are silent for `idle_ms`.

    So that what waits is not given up while a job reads what came while it was away, for which it gets
    `catch_up_ms` at most, and is where nothing comes any more. Until `idle_ms` after the start nothing is
    known. Times are epoch milliseconds.

    Between two calls at most `step_ms` count as silence: who was held up for longer, by backpressure or a
    pause, has not heard that a topic was silent.
    """

    def __init__(self, idle_ms: int, catch_up_ms: int, now: int, step_ms: int = 2_000) -> None:
        self._idle_ms, self._catch_up_ms, self._step_ms = idle_ms, catch_up_ms, step_ms
        self._last, self._clock = now, 0
        self._heard: dict[str, int] = {}
        self._newest: dict[str, int] = {}

    def heard(self, newest: Mapping[str, int], now: int) -> None:
        """`newest`: partition -> time of its newest message."""
        self._pass(now)
        for partition, time in newest.items():
            self._heard[partition] = self._clock
            self._newest[partition] = max(time, self._newest.get(partition, -1))

    def at(self, now: int) -> int:
        """-1 where nothing is known yet."""
        self._pass(now)
        active = [self._newest[p] for p, heard in self._heard.items() if self._clock - heard < self._idle_ms]
        if active:
            return max(min(now, *active), now - self._catch_up_ms)
        return now if self._clock >= self._idle_ms else -1

    def _pass(self, now: int) -> None:
        self._clock += min(max(now - self._last, 0), self._step_ms)
        self._last = now
