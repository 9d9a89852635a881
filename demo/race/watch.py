"""Read what the speculating job writes as it becomes visible, and keep the account."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from demo.watch import Served, said
from schemas.results.decided import AnswerState, Decided, read_decided
from schemas.results.records import ModelEvent, Outcome


@dataclass(slots=True)
class CandidateTally:
    """Of records; `right` among the `answered`, which are those that were in time for the decision."""

    answered: int = 0
    wins: int = 0
    late: int = 0
    unable: int = 0
    right: int = 0

    @property
    def accuracy(self) -> float | None:
        return self.right / self.answered if self.answered else None


@dataclass(slots=True)
class RaceWatch:
    """The account of a work folder; `look` brings it up to date. `classes` of the one data type, in order."""

    root: Path
    classes: tuple[str, ...]
    tallies: defaultdict[str, CandidateTally] = field(default_factory=lambda: defaultdict(CandidateTally))
    right: int = 0
    scored: int = 0
    served: Served[Decided] = field(init=False)

    def __post_init__(self) -> None:
        self.served = Served(self.root, lambda line, visible: read_decided(line))

    @property
    def accuracy(self) -> float | None:
        return self.right / self.scored if self.scored else None

    def look(self) -> list[str]:
        """Take in the files that have become visible. Returns what is to be told of model events."""
        decided, news = self.served.look()
        for one in decided:
            self._take(one)
        return [_told(event) for event in news]

    def without(self, candidate: str) -> int:
        """How many of the last records were decided without asking it."""
        return sum(candidate not in one.answers for one in self.served.results[-1000:])

    def _take(self, one: Decided) -> None:
        r = one.result
        label = r.record.get("label")
        if r.outcome is Outcome.SCORED:
            self.scored += 1
            self.right += said(r.scores, self.classes) == label
            self.tallies[r.model].wins += 1
        for name, answer in one.answers.items():
            tally = self.tallies[name]
            if answer.outcome is AnswerState.SCORED:
                tally.answered += 1
                tally.right += said(answer.scores, self.classes) == label
            elif answer.outcome is AnswerState.LATE:
                tally.late += 1
            elif answer.outcome is not AnswerState.PENDING:
                tally.unable += 1


def _told(event: ModelEvent) -> str:
    about = f"plan v{event.version}" if event.step == "plan" else event.name
    why = f": {event.reason}" if event.reason else ""
    return f"{about} {event.kind.value}{why}"
