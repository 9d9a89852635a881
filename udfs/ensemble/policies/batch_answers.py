"""The answers of one batch, decoded once, in the form in which policies look at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.results.answers import Answer, AnswerOutcome, Asked, from_columns
from schemas.results.decided import AnswerState, Reported
from udfs.ensemble.policies.votes import Votes

_NOT_YET = np.iinfo(np.int64).max


class CandidateEntry:
    """One candidate that was asked about a batch, and its answer as soon as there is one.

    `expected`, `scored`: bool `(count,)`, which records it was asked about and has scored. `columns`: its
    outputs `(count, *shape)`, to be read where `scored`. `bad`: index -> why a record was not scored.
    `trouble`: why an answer that says it scored cannot be used. `late`: it is reported and does not count.
    """

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.shadow = False
        self.expected = np.zeros(count, dtype=bool)
        self.scored = np.zeros(count, dtype=bool)
        self.columns: dict[str, NDArray] = {}
        self.answer: Answer | None = None
        self.arrival = _NOT_YET
        self.late = False
        self.bad: Mapping[int, str] = {}
        self.trouble = ""

    def take(self, answer: Answer, arrival: int, late: bool) -> None:
        self.answer, self.arrival, self.bad, self.late = answer, arrival, answer.bad, late
        if answer.outcome is not AnswerOutcome.SCORED:
            return
        count = len(self.expected)
        rows = np.arange(count) if answer.rows is None else np.asarray(answer.rows, dtype=np.int64)
        try:
            columns = from_columns(answer.columns)
        except (ValueError, TypeError) as e:
            self.trouble = f"its columns cannot be read: {e}"
            return
        if not len(rows):
            return
        if any(c.ndim == 0 or len(c) != len(rows) for c in columns.values()) or not columns:
            self.trouble = "its columns do not have one value for each of its records"
            return
        if not (rows.min() >= 0 and rows.max() < count):
            self.trouble = f"it answers about records that a batch of {count} does not have"
            return
        self.scored[rows] = True
        whole = answer.rows is None
        self.columns = {n: c if whole else _spread(c, rows, count) for n, c in columns.items()}
        self.scored &= self.expected
        self._pass_over_what_is_not_finite()

    def _pass_over_what_is_not_finite(self) -> None:
        bad: dict[int, str] = {}
        for name, column in self.columns.items():
            if column.dtype.kind != "f":
                continue
            finite = np.isfinite(column).reshape(len(column), -1).all(axis=1)
            if not finite.all():
                wrong = self.scored & ~finite
                bad.update(dict.fromkeys(np.flatnonzero(wrong).tolist(), f"its {name!r} is not finite"))
                self.scored &= finite
        if bad:
            self.bad = {**self.bad, **bad}

    @property
    def asked(self) -> int:
        """How many records it was asked about."""
        return int(self.expected.sum())

    def reported(self, missing: AnswerState) -> Reported:
        answer = self.answer
        if answer is None:
            return Reported(self.name, missing, self.expected, self.scored, shadow=self.shadow)
        state = AnswerState.FAILED if self.trouble else AnswerState(answer.outcome.value)
        return Reported(
            self.name,
            AnswerState.LATE if self.late and state is AnswerState.SCORED else state,
            self.expected,
            self.scored,
            self.columns,
            self.bad,
            answer.version,
            answer.digest,
            answer.ms,
            answer.waited_ms,
            self.shadow,
            self.trouble or answer.reason,
            answer.signer or "",
        )


class BatchAnswers:
    """Who was asked about the `count` records of a batch, and the answers in hand.

    `metrics`: candidate -> quality metrics of its descriptor. Candidates are kept in the order of their
    names, so that nothing but the rule "first answer" depends on the order in which they were asked.
    """

    def __init__(
        self, asked: Iterable[Asked], count: int, metrics: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        self.count = count
        self.metrics = metrics or {}
        self._entries: dict[str, CandidateEntry] = {}
        for one in sorted(asked, key=lambda a: a.candidate):
            entry = self._entries.setdefault(one.candidate, CandidateEntry(one.candidate, count))
            entry.shadow |= one.shadow
            entry.expected[slice(None) if one.rows is None else np.asarray(one.rows, dtype=np.int64)] = True
        self._arrived = 0

    @classmethod
    def of(
        cls,
        asked: Iterable[Asked],
        count: int,
        answers: Iterable[Answer],
        metrics: Mapping[str, Mapping[str, float]] | None = None,
    ) -> BatchAnswers:
        """With answers in the order in which they arrived."""
        made = cls(asked, count, metrics)
        for answer in answers:
            made.add(answer)
        return made

    def add(self, answer: Answer, *, late: bool = False) -> bool:
        """Take the next answer; one that is `late` is reported, but does not decide.

        False where it is passed over: its candidate was not asked, or has answered before.
        """
        entry = self._entries.get(answer.candidate)
        if entry is None or entry.answer is not None:
            return False
        entry.take(answer, self._arrived, late)
        self._arrived += 1
        return True

    @property
    def entries(self) -> Sequence[CandidateEntry]:
        """All who were asked, shadows too, by name."""
        return list(self._entries.values())

    @property
    def complete(self) -> bool:
        """Whether everyone has answered, shadows too."""
        return self._arrived == len(self._entries)

    def reported(self, final: bool) -> list[Reported]:
        """Every answer for the result, in order of arrival, then who has not answered, by name.

        `final`: the deadline is over, so that what is missing is late; else the decision did not wait for it.
        """
        ranked = sorted(self.entries, key=lambda entry: entry.arrival)
        return [entry.reported(AnswerState.LATE if final else AnswerState.PENDING) for entry in ranked]

    def votes(self, final: bool) -> Votes:
        """What policies see: shadows are left out. `final`: what is missing does not come any more."""
        voters = [entry for entry in self.entries if not entry.shadow]
        voters = voters or [
            CandidateEntry("", self.count)
        ]  # there is always one, which may have nothing to say
        nothing = np.zeros((len(voters), self.count), dtype=bool)
        pending = nothing.copy()
        for row, entry in zip(pending, voters, strict=True):
            if entry.answer is None and not final:
                row[:] = entry.expected
        return Votes(
            names=tuple(entry.name for entry in voters),
            has=np.array([entry.scored & (not entry.late) for entry in voters], dtype=bool).reshape(
                nothing.shape
            ),
            pending=pending,
            arrival=np.array([entry.arrival for entry in voters], dtype=np.int64),
            columns=tuple(entry.columns for entry in voters),
            metrics=self.metrics,
        )


def _spread(column: NDArray, rows: NDArray, count: int) -> NDArray:
    whole = np.zeros((count, *column.shape[1:]), dtype=column.dtype)
    whole[rows] = column
    return whole
