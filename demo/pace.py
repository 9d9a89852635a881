"""How many records are due."""

from __future__ import annotations

_TAPER = 60
_CATCH_UP = 0.2


class Pace:
    """`rate` records a second; what could not be written in time is not caught up with."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due, self._then = 0.0, 0.0

    def due(self, now: float, left: int, hold: bool) -> int:
        """How many of the `left` records of a stage to write at `now` (seconds). `hold`: the stage waits for
        something, so that records get ever fewer without ever stopping."""
        elapsed = now - self._then if self._then else 0.0
        self._then = now
        self._due = min(self._due + elapsed * self._rate, self._rate * _CATCH_UP)
        count = max(0, min(int(self._due), left, max(1, left // _TAPER) if hold else left))
        self._due -= count
        return count
