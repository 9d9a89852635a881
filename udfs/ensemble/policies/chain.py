"""Deciding: the policies of a plan are asked in turn, each about the records that none before it decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.plans import plan
from schemas.plans.plan import Policy
from schemas.results.decided import Part
from udfs.ensemble.policies import agreement, average, choose, fallback, majority  # noqa: F401 they register
from udfs.ensemble.policies.batch_answers import BatchAnswers
from udfs.ensemble.policies.votes import Verdict, judge


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of the n records of a batch: each is in one of `parts`, or `waiting` (bool `(n,)`).

    Parts without a rule are undecided. Nothing waits in a final decision.
    """

    parts: Sequence[Part]
    waiting: NDArray


def decide(policy: Policy, answers: BatchAnswers, *, final: bool = True) -> Decision:
    """Decide each record of a batch from the answers in hand.

    `final`: what is missing will not come, so that every record is decided or undecided. Without it, records
    wait whose outcome an answer that may still come could change; some of which it could not wait too.

    >>> from schemas.results.answers import Answer, AnswerOutcome, Asked, to_columns
    >>> import numpy as np
    >>> answers = BatchAnswers([Asked("fast"), Asked("smart")], count=2)
    >>> scores = to_columns({"quality": np.array([5.0, 6.0])})
    >>> answers.add(Answer("id", "wine", "fast", AnswerOutcome.SCORED, columns=scores))
    True
    >>> smart_if_in_time = plan.Prefer(candidates=("smart", "fast"))
    >>> decide(smart_if_in_time, answers, final=False).waiting.tolist()
    [True, True]
    >>> (part,) = decide(smart_if_in_time, answers).parts
    >>> part.by, part.rule, part.rows.tolist(), part.columns["quality"].tolist()
    ('fast', 'prefer', [0, 1], [5.0, 6.0])
    """
    votes = answers.votes(final)
    parts: list[Part] = []
    waiting = np.zeros(votes.count, dtype=bool)
    left = ~waiting
    unable: list[tuple[str, Verdict]] = []
    for link in plan.chain(policy):
        if not left.any():
            break
        verdict = judge(link, votes)
        waiting |= left & verdict.open
        left &= ~verdict.open
        for piece in verdict.pieces:
            rows = np.flatnonzero(left & piece.mask)
            if len(rows):
                columns = {n: c if len(rows) == len(c) else c[rows] for n, c in piece.columns.items()}
                parts.append(Part(rows, columns, piece.by, piece.rule or plan.tag_of(link)))
        left &= ~verdict.decided
        unable.append((plan.tag_of(link), verdict))
    parts += _undecided(left, unable)
    return Decision(parts, waiting)


def _undecided(left: NDArray, unable: Sequence[tuple[str, Verdict]]) -> list[Part]:
    rows = np.flatnonzero(left)
    if not len(rows):
        return []
    codes = np.stack([verdict.why[rows] for _, verdict in unable])
    kinds, kind_of = np.unique(codes, axis=1, return_inverse=True)
    kind_of = kind_of.reshape(-1)
    parts = []
    for number, kind in enumerate(kinds.T.tolist()):
        said = [f"{tag}: {verdict.reasons[code]}" for (tag, verdict), code in zip(unable, kind, strict=True)]
        parts.append(Part(rows[kind_of == number], reason="; ".join(said)))
    return parts
