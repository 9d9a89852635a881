"""Read what the speculating job writes as it becomes visible, and keep the account."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from demo.watch import NewLines, Result, said
from schemas.results.decided import AnswerState, Decided, read_decided
from schemas.results.records import DeadLetter, EventKind, ModelEvent, Outcome, decode


@dataclass(slots=True)
class CandidateTally:
    """Of records; `right` among the `answered`, which are those that were in time for the decision."""

    asked: int = 0
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
    decided: list[Decided] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    events: list[ModelEvent] = field(default_factory=list)
    tallies: defaultdict[str, CandidateTally] = field(default_factory=lambda: defaultdict(CandidateTally))
    right: int = 0
    scored: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    _lines: NewLines = field(init=False)

    def __post_init__(self) -> None:
        self._lines = NewLines(self.root)

    @property
    def accounted(self) -> int:
        return len(self.decided) + len(self.dead)

    @property
    def accuracy(self) -> float | None:
        return self.right / self.scored if self.scored else None

    def look(self) -> list[ModelEvent]:
        """Take in the files that have become visible. Returns the model events among them."""
        for line, visible in self._lines.of("results"):
            self._take(read_decided(line), visible)
        self.dead += [decode(DeadLetter, line) for line, _ in self._lines.of("dead-letters")]
        news = [decode(ModelEvent, line) for line, _ in self._lines.of("model-events")]
        self.events += sorted(news, key=lambda event: event.at)
        return news

    def told(self, kind: EventKind, version: int) -> bool:
        """Whether there is such an event about a model or plan of this version."""
        return any((event.kind, event.version) == (kind, version) for event in self.events)

    def without(self, candidate: str) -> int:
        """How many of the last records were decided without asking it."""
        return sum(candidate not in one.answers for one in self.decided[-1000:])

    def _take(self, one: Decided, visible: float) -> None:
        r = one.result
        self.decided.append(one)
        self.results.append(Result.of(r, visible))
        label = r.record.get("label")
        if r.outcome is Outcome.SCORED:
            self.scored += 1
            self.right += said(r.scores, self.classes) == label
            self.rules[one.rule] += 1
            self.tallies[r.model].wins += 1
        for name, answer in one.answers.items():
            tally = self.tallies[name]
            tally.asked += 1
            if answer.outcome is AnswerState.SCORED:
                tally.answered += 1
                tally.right += said(answer.scores, self.classes) == label
            elif answer.outcome is AnswerState.LATE:
                tally.late += 1
            elif answer.outcome is not AnswerState.PENDING:
                tally.unable += 1
