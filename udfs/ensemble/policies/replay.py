"""Decide recorded results once more, by another plan: the same functions over what was answered then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.plans.plan import Plan
from schemas.results.answers import Answer, AnswerOutcome, Asked, to_columns
from schemas.results.decided import AnswerState, CandidateAnswer, Decided
from udfs.ensemble.policies.batch_answers import BatchAnswers
from udfs.ensemble.policies.chain import decide

Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Redecided:
    """What the plan makes of one record: as in `schemas.results.decided.Part`, for one."""

    by: str = ""
    rule: str = ""
    reason: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)


def redecide(results: Sequence[Decided], plan: Plan, metrics: Metrics | None = None) -> list[Redecided]:
    """Decide each record by the plan's policy, shadows and deadline; who was asked stays as it was.

    Answers keep their recorded order. What was in time is late where the plan's deadline is the shorter one
    and the answer took longer; what was late with its scores is in time where the plan waits that long.
    Whatever was not waited for is not known, and missing. Raises `ValueError` for scores of ragged lists.
    """
    found = [Redecided()] * len(results)
    groups: dict[tuple[Any, ...], list[int]] = {}
    ordered = [_in_order(result, plan.deadline_ms) for result in results]
    for row, answers in enumerate(ordered):
        key = tuple((name, known, _kinds(answer.scores)) for name, answer, known in answers)
        groups.setdefault(key, []).append(row)
    for rows in groups.values():
        batch = _answers([ordered[row] for row in rows], plan.shadow, metrics)
        for part in decide(plan.policy, batch).parts:
            values = {name: column.tolist() for name, column in part.columns.items()}
            for at, row in enumerate(part.rows.tolist()):
                scores = {name: column[at] for name, column in values.items()}
                found[rows[row]] = Redecided(part.by, part.rule, part.reason, scores)
    return found


_Ordered = list[tuple[str, CandidateAnswer, bool]]


def _in_order(result: Decided, deadline_ms: int) -> _Ordered:
    """Everyone who was asked, and whether there is an answer that counts, in order of arrival."""
    before: _Ordered = []
    after: _Ordered = []
    for name, answer in result.answers.items():
        waited = answer.waited_ms
        if answer.outcome is AnswerState.SCORED:
            shorter = deadline_ms < result.deadline_ms and waited is not None and waited > deadline_ms
            before.append((name, answer, not shorter))
        else:
            rescued = answer.outcome is AnswerState.LATE and bool(answer.scores)
            rescued = rescued and waited is not None and waited <= deadline_ms
            after.append((name, answer, rescued))
    return before + sorted(after, key=lambda one: one[1].waited_ms or 0.0)


def _answers(group: Sequence[_Ordered], shadows: Sequence[str], metrics: Metrics | None) -> BatchAnswers:
    first = group[0]
    batch = BatchAnswers([Asked(name, None, name in shadows) for name, *_ in first], len(group), metrics)
    for at, (name, answer, known) in enumerate(first):
        outcome = AnswerOutcome.SCORED if known else AnswerOutcome.DECLINED
        scores = [answers[at][1].scores for answers in group] if known else []
        columns = {
            output: _column([row[output] for row in scores])
            for output in answer.scores
            if known and answer.scores[output] is not None
        }
        batch.add(Answer("", "", name, outcome, columns=to_columns(columns)))
    return batch


def _column(values: Sequence[Any]) -> NDArray:
    column = np.array(values)
    if column.dtype.kind not in "fiub":
        return np.array(values, dtype=object)
    return column


def _kinds(scores: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells columns of different types and shapes apart."""
    return tuple((name, type(value), np.shape(value)) for name, value in scores.items())
