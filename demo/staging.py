"""Stage after stage: how many records are due, while what a stage asks for is done and waited for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from demo.feed import Feed
from demo.pace import Pace


class Staged(Protocol):
    """`share` of all records flow in a stage. It ends when they have been written and all is done."""

    @property
    def share(self) -> float: ...


class StagedDirector(ABC):
    """Records flow at `rate` a second and slow down, without a stop, while a stage is not complete.

    `step` is called often and never blocks.
    """

    def __init__(self, stages: Sequence[Staged], total: int, rate: float, feed: Feed) -> None:
        self.total, self._pace = total, Pace(rate)
        self._stages, self._feed = stages, feed
        self.stage = 0

    @property
    def written(self) -> int:
        return self._feed.count

    @property
    def finished(self) -> bool:
        """All records are written, and all has been done."""
        return self._last and self._feed.count >= self.total and self._complete()

    def step(self, now: float) -> None:
        """Write what is due at `now` (seconds), and go on with the stage. Raises `WorkbenchError`."""
        self._go_on()
        shares = sum(stage.share for stage in self._stages[: self.stage + 1])
        left = (self.total if self._last else round(self.total * shares)) - self._feed.count
        complete = self._complete()
        if complete and left <= 0 and not self._last:
            self.stage += 1
            self._begin()
        elif count := self._pace.due(now, left, hold=not complete):
            self._feed.write(count)

    @property
    def _last(self) -> bool:
        return self.stage == len(self._stages) - 1

    @abstractmethod
    def _begin(self) -> None:
        """A stage, which is not the first."""

    @abstractmethod
    def _go_on(self) -> None:
        """Do what the stage asks for next, as soon as what was asked for is done."""

    @abstractmethod
    def _complete(self) -> bool:
        """Whether all that the stage asks for is done."""
