"""Regression answers that lie close to each other, else the most conservative of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.plans.plan import Agreement
from udfs.ensemble.policies.votes import Piece, Verdict, Votes, judge, scalars


@judge.register
def agreement(policy: Agreement, votes: Votes) -> Verdict:
    """Waits for every candidate: the next one may widen the set, narrow it, or be more conservative."""
    values = votes.values(policy.output, scalars)
    usable = votes.usable(values)
    zeros = np.zeros(votes.count)
    known = np.array([zeros if v is None else v for v in values]).reshape(usable.shape)
    n = usable.sum(axis=0)
    ranked = np.sort(np.where(usable, known, np.inf), axis=0)
    agreed, value = _agreed(ranked, n, policy)
    pieces = [Piece(agreed, {policy.output: value}, rule="agreement")]
    reason = f"the answers with {policy.output!r} do not agree within {policy.tolerance:g}"
    decided = agreed
    if policy.conservative != "undecided":
        decided = n > 0
        at = np.zeros_like(n) if policy.conservative == "lowest" else np.maximum(n - 1, 0)
        extreme = np.take_along_axis(ranked, at[None], axis=0)[0] if len(ranked) else zeros
        rule = f"agreement: {policy.conservative}"
        pieces.append(Piece(decided & ~agreed, {policy.output: extreme}, rule=rule))
    reasons = (f"no answer in time has the output {policy.output!r}", reason)
    return Verdict(decided, votes.pending.any(axis=0), pieces, (n > 0).astype(np.int64), reasons)


def _agreed(ranked: NDArray, n: NDArray, policy: Agreement) -> tuple[NDArray, NDArray]:
    """Where enough answers agree, and their mean. `ranked`: `(V, n)`, ascending, infinite where none is."""
    agreed = np.zeros(ranked.shape[1], dtype=bool)
    value = np.zeros(ranked.shape[1])
    for size in range(len(ranked), policy.least - 1, -1):
        low, high = ranked[: len(ranked) - size + 1], ranked[size - 1 :]
        with np.errstate(invalid="ignore", over="ignore"):
            width = np.where(np.isfinite(high), high - low, np.inf)
        start = width.argmin(axis=0)  # of equally narrow sets the lowest
        narrow = np.take_along_axis(width, start[None], axis=0)[0] <= policy.tolerance
        rows = np.flatnonzero(narrow & ~agreed)
        members = ranked[start[rows] + np.arange(size)[:, None], rows]
        value[rows] = members[0] + (members - members[0]).mean(axis=0)
        agreed |= narrow
    return agreed, value
