"""How the candidates fare, counted from answers and decisions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from datasketches import kll_doubles_sketch
from numpy.typing import NDArray

from schemas.results.answers import Answer, AnswerOutcome, Reason
from schemas.results.decided import AnswerState, Part, Reported
from schemas.results.records import CandidateStats
from udfs.ensemble.policies.batch_answers import BatchAnswers
from udfs.ensemble.policies.chain import Decision
from udfs.ensemble.policies.votes import labels

_SKETCH_K = 200  # about 1.3 % rank error, a few KB
_CLOSE = 1e-6  # numbers that differ by less, relatively, are one answer in two precisions


class Tally:
    """Counts of one version of a candidate."""

    def __init__(self, data_type: str, candidate: str, version: int, digest: str, subtask: int) -> None:
        self._named = (data_type, candidate, version, digest, subtask)
        self._since = _now()
        self._counts: dict[str, int] = {}
        self._waited = kll_doubles_sketch(_SKETCH_K)
        self._shadow = False
        self.changed = False

    def add(self, shadow: bool | None = None, waited_ms: float | None = None, **counts: int) -> None:
        """`counts`: fields of `CandidateStats`, in records."""
        for field, records in counts.items():
            self.count(field, records)
        if waited_ms is not None:
            self._waited.update(waited_ms)
        self._shadow = self._shadow if shadow is None else shadow
        self.changed = True

    def count(self, field: str, records: int) -> None:
        self._counts[field] = self._counts.get(field, 0) + records
        self.changed = True

    def stats(self) -> CandidateStats:
        self.changed = False
        p50, p99 = 0.0, 0.0
        if not self._waited.is_empty():
            p50, p99 = self._waited.get_quantile(0.5), self._waited.get_quantile(0.99)
        values: dict[str, Any] = {**self._counts, "waited_p50_ms": p50, "waited_p99_ms": p99}
        data_type, candidate, version, digest, subtask = self._named
        return CandidateStats(
            data_type, candidate, version, digest, subtask, self._since, _now(), shadow=self._shadow, **values
        )


class Tallies:
    """All candidates of one subtask of the collector.

    Every request is counted once: by `add`, when its batch is decided, where it was answered by then; else
    later by one of `came_after` and `never_came`.
    """

    def __init__(self, subtask: int) -> None:
        self._subtask = subtask
        self._tallies: dict[tuple[str, str], dict[tuple[int, str], Tally]] = {}

    def add(self, data_type: str, answers: BatchAnswers, decision: Decision) -> None:
        """A batch was decided."""
        for report in answers.reported(final=True):
            if report.waited_ms is None:  # not answered yet
                continue
            asked = int(report.expected.sum())
            tally = self._of(data_type, report.candidate, report.version, report.digest)
            tally.add(asked=asked, shadow=report.shadow, waited_ms=report.waited_ms)
            if report.state is not AnswerState.SCORED:
                tally.count(report.state.value, asked)
                tally.count("fenced", asked if report.reason == Reason.ABANDONED else 0)
                continue
            scored = int((report.scored & report.expected).sum())
            wins, differ = compared(report, decision.parts)
            tally.add(answered=scored, failed=asked - scored, wins=wins, disagreements=differ)

    def came_after(self, answer: Answer, records: int, *, late: bool) -> None:
        """An answer about so many records (`Entry.asked`) came after the decision, in time or `late`."""
        tally = self._of(answer.data_type, answer.candidate, answer.version, answer.digest)
        tally.add(asked=records, waited_ms=answer.waited_ms)
        if answer.reason == Reason.ABANDONED:  # as a rule late: no call is given up before its deadline
            tally.count("fenced", records)
        if late:
            tally.count("late", records)
        elif answer.outcome is AnswerOutcome.SCORED:
            failed = min(len(answer.bad), records)
            tally.add(answered=records - failed, failed=failed)
        else:
            tally.count(answer.outcome.value, records)

    def never_came(self, data_type: str, candidate: str, records: int) -> None:
        """No answer about so many records came, nor will one be waited for any more."""
        self._of(data_type, candidate, 0, "").add(asked=records, late=records)

    def news(self) -> Iterator[CandidateStats]:
        """Statistics of those about whom there is news since they were last asked for."""
        for versions in self._tallies.values():
            yield from (tally.stats() for tally in versions.values() if tally.changed)

    def _of(self, data_type: str, candidate: str, version: int, digest: str) -> Tally:
        """What has no version is counted with the one that answered last, if there is one."""
        versions = self._tallies.setdefault((data_type, candidate), {})
        if not version and versions:
            return next(reversed(versions.values()))
        named = (version, digest)
        found = versions.pop(named, None) or Tally(data_type, candidate, version, digest, self._subtask)
        versions[named] = found  # the last one is the one that answered last
        return found


def compared(report: Reported, parts: Iterable[Part]) -> tuple[int, int]:
    """How many records a candidate's answer decided, and about how many decided others it had said otherwise.

    Two differ where an output that both have differs: by its label (of a vector the index of the largest
    element), numbers by more than one part in a million.
    """
    wins = differ = 0
    for part in parts:
        if not part.decided:
            continue
        rows = part.rows
        if part.by == report.candidate:
            wins += len(rows)
            continue
        other = np.zeros(len(rows), dtype=bool)
        for name in part.columns.keys() & report.columns.keys():
            one, two = labels(part.columns[name]), labels(report.columns[name][rows])
            if one is not None and two is not None:
                other |= _differ(one, two)
        differ += int((other & (report.scored & report.expected)[rows]).sum())
    return wins, differ


def _differ(one: NDArray, two: NDArray) -> NDArray:
    if one.dtype.kind in "fiub" and two.dtype.kind in "fiub":
        return ~np.isclose(one.astype(np.float64), two.astype(np.float64), rtol=_CLOSE, atol=0.0)
    return np.array([a != b for a, b in zip(one.tolist(), two.tolist(), strict=True)], dtype=bool)


def _now() -> int:
    return time.time_ns() // 1_000_000
