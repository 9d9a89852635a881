"""Batches of answers for the tests of decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from schemas.plans.plan import Policy
from schemas.results.answers import Answer, AnswerOutcome, Asked, to_columns
from udfs.ensemble.policies import BatchAnswers, Decision, decide


def answer(candidate: str, rows: Sequence[int] | None = None, **columns: Any) -> Answer:
    """Scores of one candidate; lists become arrays, of text as objects."""
    arrays = {name: column(values) for name, values in columns.items()}
    chosen = None if rows is None else tuple(rows)
    return Answer(
        "id", "wine", candidate, AnswerOutcome.SCORED, 3, "ab" * 32, chosen, to_columns(arrays), ms=1.5
    )


def column(values: Any) -> np.ndarray:
    array = np.asarray(values)
    return array.astype(object) if array.dtype.kind == "U" else array


def silent(candidate: str, outcome: AnswerOutcome = AnswerOutcome.DECLINED) -> Answer:
    return Answer("id", "wine", candidate, outcome, reason="occupied")


def batch(
    answers: Sequence[Answer],
    count: int,
    asked: Sequence[Asked | str] = (),
    metrics: Mapping[str, Mapping[str, float]] | None = None,
) -> BatchAnswers:
    """The answers, of those `asked` (by default of those that answer)."""
    who = [a if isinstance(a, Asked) else Asked(a) for a in asked or [a.candidate for a in answers]]
    return BatchAnswers.of(who, count, answers, metrics)


def told(decision: Decision) -> list[tuple[str, str, dict[str, Any]] | str | None]:
    """For each record `(by, rule, values)`, the reason why there is none, or None where it waits."""
    found: list[Any] = [None] * len(decision.waiting)
    for part in decision.parts:
        for at, row in enumerate(part.rows.tolist()):
            assert found[row] is None and not decision.waiting[row]
            values = {name: plain(c[at]) for name, c in part.columns.items()}
            found[row] = (part.by, part.rule, values) if part.decided else part.reason
    assert [t is None for t in found] == decision.waiting.tolist()
    return found


def plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def decided(policy: Policy, answers: Sequence[Answer], count: int, **more: Any) -> list[Any]:
    return told(decide(policy, batch(answers, count, **more)))
