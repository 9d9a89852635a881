"""How far a source has been read: the watermark of one instance over its partitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from schemas.features.declarations import duration_ms


class Disorder(Protocol):
    """How a stream may be out of order, as durations such as "5 s"; a declared source is one."""

    @property
    def out_of_orderness(self) -> str: ...

    @property
    def idle(self) -> str: ...


@dataclass(slots=True)
class _Partition:
    heard: int
    newest: int | None = None


class Progress:
    """The least newest event time over the active partitions, less `out_of_orderness` and one millisecond.

    A partition that is silent for `idle` holds nobody back, nor does one of which no good event has come.
    Until `expected` partitions have been heard of, or `idle` has passed since the first of them was, there is
    no watermark; with `expected` None (nobody knows which partitions are this instance's) it is always `idle`
    that counts. Times are epoch milliseconds.

    Between two calls at most `step_ms` count as time without records: who was held up for longer, by
    backpressure or a pause, has not heard that a partition was silent.
    """

    def __init__(self, source: Disorder, expected: int | None, now: int, step_ms: int = 1000) -> None:
        self._lag = duration_ms(source.out_of_orderness) + 1
        self._idle = duration_ms(source.idle)
        self._expected = expected
        self._started: int | None = None
        self._step_ms, self._last, self._clock = step_ms, now, 0
        self._partitions: dict[Any, _Partition] = {}
        self._watermark: int | None = None

    def heard(self, partition: Any, newest: int | None, now: int) -> None:
        """Records have come; `newest`: the greatest event time among the good ones, if any was good."""
        self._pass(now)
        if self._started is None:
            self._started = self._clock
        known = self._partitions.setdefault(partition, _Partition(self._clock))
        known.heard = self._clock
        if newest is not None and (known.newest is None or newest > known.newest):
            known.newest = newest

    def watermark(self, now: int) -> int | None:
        """Never goes back, whatever idle partitions bring when they return."""
        self._pass(now)
        waiting = self._expected is None or len(self._partitions) < self._expected
        if self._started is None or (waiting and self._clock - self._started < self._idle):
            return self._watermark
        known = [p for p in self._partitions.values() if p.newest is not None]
        # where all are silent all count: what came in a burst before that would wait for more
        active = [p for p in known if self._clock - p.heard < self._idle] or known
        if active:
            reached = min(p.newest for p in active if p.newest is not None) - self._lag
            if self._watermark is None or reached > self._watermark:
                self._watermark = reached
        return self._watermark

    def is_idle(self, now: int, start_ms: int = 0) -> bool:
        """Whether nothing has been heard for `idle`, from any partition; before the first, for `start_ms` if
        that is longer."""
        self._pass(now)
        if not self._partitions:
            return self._clock >= max(self._idle, start_ms)
        return self._clock - max(p.heard for p in self._partitions.values()) >= self._idle

    def _pass(self, now: int) -> None:
        self._clock += min(max(now - self._last, 0), self._step_ms)
        self._last = now
