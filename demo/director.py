"""Stage after stage: what is done next and what is waited for, while records flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from demo.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Stage:
    """It ends when its steps have been taken, it is `done`, and its `share` of all records is written.

    A step asks the workbench for something, or does it; one that returns False is taken again later.
    `missing`: what has not happened where the stage is not done.
    """

    title: str
    steps: Sequence[Callable[[], object]]
    done: Callable[[], bool]
    missing: str
    share: float = 0.0


class Flow(Protocol):
    """What flows into the jobs while the stages go on."""

    def flow(self, now: float, at: int, hold: bool) -> bool:
        """Write what is due at `now` (seconds) in the stage number `at`, which is that of no stage when all
        are over. `hold`: the stage waits for something. Returns whether the stage has all its records."""

    def settled(self) -> bool:
        """Whether all that was written has come out."""

    def progress(self) -> object:
        """What changes as long as something happens."""


class Director:
    """Goes through the stages. `step` is called often and never blocks."""

    def __init__(self, stages: Sequence[Stage], bench: Workbench, flow: Flow) -> None:
        self.stages, self._bench, self._flow = stages, bench, flow
        self.at, self._waiting = 0, list(stages[0].steps)
        self._moments: list[float] = []

    @property
    def title(self) -> str:
        return self.stages[min(self.at, len(self.stages) - 1)].title

    @property
    def heading(self) -> str:
        """The number of the stage and its title."""
        return f"{min(self.at + 1, len(self.stages))}/{len(self.stages)} {self.title}"

    @property
    def over(self) -> bool:
        """All has been done, and all records are written."""
        return self.at == len(self.stages)

    @property
    def finished(self) -> bool:
        """All is over, and has come out."""
        return self.over and self._flow.settled()

    @property
    def progress(self) -> object:
        return self.at, self._flow.progress()

    def seconds(self, stage: int, now: float) -> float | None:
        """How long a stage has taken until `now` (seconds), None before it begins."""
        begun = self._moments[stage : stage + 2]
        return None if not begun else (begun[1] if len(begun) == 2 else now) - begun[0]

    def missing(self) -> list[str]:
        """What has not gone by the plan."""
        return [stage.missing for stage in self.stages if not stage.done()]

    def step(self, now: float) -> None:
        """Go on with what is due at `now` (seconds). Raises `WorkbenchError`, and what steps raise."""
        if not self._moments:
            self._moments.append(now)
        if self._bench.busy:
            self._bench.answer()
        if self._waiting and not self._bench.busy and self._waiting[0]() is not False:
            self._waiting.pop(0)
        waits = bool(self._waiting) or self._bench.busy
        complete = not self.over and not waits and self.stages[self.at].done()
        if self._flow.flow(now, self.at, hold=not complete) and complete:
            self.at += 1
            self._moments.append(now)
            self._waiting = [] if self.over else list(self.stages[self.at].steps)
