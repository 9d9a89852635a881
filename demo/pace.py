"""How many records are due, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from demo.director import Stage
from demo.feed import Feed
from demo.watch import Served

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


class PacedFeed:
    """`total` records at `rate` a second, each stage's share in it; all come out in what is `served`."""

    def __init__(
        self, feed: Feed, served: Served[Any], stages: Sequence[Stage], total: int, rate: float
    ) -> None:
        self._feed, self._served, self._pace = feed, served, Pace(rate)
        shares = [stage.share for stage in stages]
        self._until = [round(total * sum(shares[: at + 1])) for at in range(len(shares))]
        self._until[-1:] = [total, total]

    def flow(self, now: float, at: int, hold: bool) -> bool:
        left = self._until[at] - self._feed.count
        if count := self._pace.due(now, left, hold):
            self._feed.write(count)
        return left <= count

    def settled(self) -> bool:
        return self._served.accounted >= self._feed.count

    def progress(self) -> object:
        return self._feed.count, self._served.accounted, len(self._served.events)
