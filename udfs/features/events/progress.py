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


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """How far records may be out of order, and after what silence a partition holds nobody back.

    Raises `FeatureError` for what is no duration.
    """

    out_of_orderness: str = "5 s"
    idle: str = "10 s"

    def __post_init__(self) -> None:
        for text in (self.out_of_orderness, self.idle):
            duration_ms(text)


@dataclass(slots=True)
class _Partition:
    heard: int
    newest: int | None = None


class Progress:
    """The least newest event time over the active partitions, less `out_of_orderness` and one millisecond.

    A partition that is silent for `idle` holds nobody back, nor does one of which no good event has come.
    Until `expected` partitions have been heard of, or `idle` has passed since the first of them was, there is
    no watermark; with `expected` None (nobody knows which partitions are this instance's) it is always `idle`
    that counts. Event times are epoch milliseconds.

    Time passes as it is told, by what reads: who is held up, by backpressure or a pause, has not heard that a
    partition was silent.
    """

    def __init__(self, source: Disorder, expected: int | None) -> None:
        self._lag = duration_ms(source.out_of_orderness) + 1
        self._idle = duration_ms(source.idle)
        self._expected = expected
        self._started: int | None = None
        self._clock = 0
        self._partitions: dict[Any, _Partition] = {}
        self._watermark: int | None = None

    def passed(self, ms: int) -> None:
        """So much time has passed where records are read."""
        self._clock += ms

    def heard(self, partition: Any, newest: int | None) -> None:
        """Records have come; `newest`: the greatest event time among the good ones, if any was good."""
        if self._started is None:
            self._started = self._clock
        known = self._partitions.setdefault(partition, _Partition(self._clock))
        known.heard = self._clock
        if newest is not None and (known.newest is None or newest > known.newest):
            known.newest = newest

    def watermark(self) -> int | None:
        """Never goes back, whatever idle partitions bring when they return."""
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

    def is_idle(self, start_ms: int = 0) -> bool:
        """Whether nothing has been heard for `idle`, from any partition; before the first, for `start_ms` if
        that is longer."""
        if not self._partitions:
            return self._clock >= max(self._idle, start_ms)
        return self._clock - max(p.heard for p in self._partitions.values()) >= self._idle
