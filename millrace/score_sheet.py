"""What a replay adds up to: wins, changes, and how right each was."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schemas.results.decided import AnswerState, Decided
from schemas.results.records import Outcome
from udfs.ensemble.policies.replay import Redecided

COMBINED = ""


@dataclass(slots=True)
class Rightness:
    """How close predictions came to labels. `error` is the mean absolute one; NaN where one was no number."""

    records: int = 0
    right: int = 0
    total: float = 0.0

    def add(self, predicted: Any, label: Any) -> None:
        """Count one prediction."""
        said = label_of(predicted)
        self.records += 1
        self.right += same(said, label)
        number, wanted = _number(said), _number(label)
        self.total += math.nan if number is None or wanted is None else abs(number - wanted)

    @property
    def accuracy(self) -> float:
        """The share of labels that were met; NaN of no records."""
        return self.right / self.records if self.records else math.nan

    @property
    def error(self) -> float:
        """The mean absolute error; NaN of no records."""
        return self.total / self.records if self.records else math.nan


@dataclass(slots=True)
class Tallied:
    """Of one way to decide: wins by candidate (`COMBINED`: none alone), and what was left undecided."""

    wins: Counter[str] = field(default_factory=Counter)
    undecided: int = 0
    rightness: Rightness = field(default_factory=Rightness)

    @property
    def decided(self) -> int:
        """How many records were decided."""
        return self.wins.total()


@dataclass(slots=True)
class ScoreSheet:
    """Recorded against replayed decisions.

    `label`: the record's field with the truth, `output`: the score that is compared with it.
    """

    label: str = ""
    output: str = ""
    records: int = 0
    changed: int = 0
    unknown: int = 0
    unlabelled: int = 0
    recorded: Tallied = field(default_factory=Tallied)
    replayed: Tallied = field(default_factory=Tallied)
    alone: dict[str, Rightness] = field(default_factory=dict)

    def add(self, old: Decided, new: Redecided) -> None:
        """Count one record, as it was decided and as it is now."""
        self.records += 1
        was_decided = old.result.outcome is Outcome.SCORED
        self._count(self.recorded, was_decided, old.result.model)
        self._count(self.replayed, bool(new.rule), new.by)
        self.changed += was_decided != bool(new.rule) or not same_scores(old.result.scores, new.scores)
        self.unknown += any(a.outcome is AnswerState.PENDING for a in old.answers.values())
        for name in old.answers:
            self.alone.setdefault(name, Rightness())
        if not self.label:
            return
        if (label := old.result.record.get(self.label)) is None:
            self.unlabelled += 1
            return
        said = [(self.recorded.rightness, old.result.scores), (self.replayed.rightness, new.scores)]
        said += [(self.alone[name], answer.scores) for name, answer in old.answers.items()]
        for rightness, scores in said:
            if self.output in scores:
                rightness.add(scores[self.output], label)

    @staticmethod
    def _count(count: Tallied, decided: bool, by: str) -> None:
        if decided:
            count.wins[by] += 1
        else:
            count.undecided += 1


def label_of(value: Any) -> Any:
    """What a score says: of a vector the index of its largest element, if it is longer than one."""
    if isinstance(value, list) and value and all(isinstance(v, int | float) for v in value):
        return value[0] if len(value) == 1 else int(np.argmax(value))
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal.

    Numbers are by value, to a part in a million; a label that is text in one place and a number in the other
    by what it says.
    """
    a, b = _number(one), _number(other)
    if a is not None and b is not None:
        return math.isclose(a, b, rel_tol=1e-6)
    return str(one) == str(other)


def same_scores(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two results have the same outputs, with values that are equal."""
    return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return same(one, other)


def _number(value: Any) -> float | None:
    if isinstance(value, str | int | float):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None
    return None
