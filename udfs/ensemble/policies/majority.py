"""The value that most answers share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.plans.plan import Majority
from udfs.ensemble.policies.votes import Piece, Values, Verdict, Votes, judge, labels, largest

_ENOUGH = 1e-9  # a share of 0.6667 is meant when 2 of 3 agree to four digits less


@judge.register
def majority(policy: Majority, votes: Votes) -> Verdict:
    """Settled as soon as those still to come could not even draw level with the leading value."""
    values = votes.values(policy.output, labels)
    usable = votes.usable(values)
    n, to_come = usable.sum(axis=0), votes.pending.sum(axis=0)
    same = _same(values, usable)
    agree = same.sum(axis=1)  # (V, n): how many share the value of each
    most = agree.max(axis=0, initial=0)
    leading = usable & (agree == most)
    winner = _untie(policy, votes, values, leading, same)
    second = np.zeros_like(most)
    for v in range(len(values)):
        others = np.where(usable & ~same[v], agree, 0).max(axis=0)
        second = np.where(leading[v], np.maximum(second, others), second)
    wide = most + _ENOUGH >= policy.within * n
    decided = (n >= policy.least) & (winner >= 0) & wide
    certain = (n >= policy.least) & (most - second > to_come)
    certain &= most + _ENOUGH >= policy.within * (n + to_come)
    waits = (to_come > 0) & (n + to_come >= policy.least) & ~certain
    why = np.where(n < policy.least, 0, np.where(~wide, 1, 2))
    reasons = (
        f"fewer than {policy.least} answers with {policy.output!r} in time",
        f"no value of {policy.output!r} has the share {policy.within:g} of the answers",
        f"several values of {policy.output!r} are equally frequent",
    )
    return Verdict(decided, waits, _pieces(policy.output, values, winner, decided), why, reasons)


def _same(values: Values, usable: NDArray) -> NDArray:
    """`(V, V, n)`: whether two candidates' usable values are equal. A text equals no number."""
    same = np.zeros((len(values), *usable.shape), dtype=bool)
    for a, one in enumerate(values):
        for b, other in enumerate(values[: a + 1]):
            if one is not None and other is not None and _is_text(one) == _is_text(other):
                same[a, b] = same[b, a] = (one == other) & usable[a] & usable[b]
    return same


def _untie(policy: Majority, votes: Votes, values: Values, leading: NDArray, same: NDArray) -> NDArray:
    """A candidate `(n,)` with the winning value, by the tie rule; -1 where there is none."""
    winner = np.where(leading.any(axis=0), leading.argmax(axis=0), -1)
    tied = np.zeros(votes.count, dtype=bool)
    for v in range(len(values)):
        rows = winner == v
        tied |= rows & (leading & ~same[v]).any(axis=0)
    if policy.tie == "undecided":
        return np.where(tied, -1, winner)
    if not tied.any():
        return winner
    if policy.tie == "first":
        rank = np.broadcast_to(votes.arrival[:, None], leading.shape).astype(np.float64)
    else:
        rank = _ordinals(values, leading)
        rank = -rank if policy.tie == "highest" else rank
    if policy.tie == "confidence":
        support = _support(policy, votes, same)
        best = np.where(leading, support, -np.inf).max(axis=0)
        leading = leading & (support == best)
    return np.where(tied, np.where(leading, rank, np.inf).argmin(axis=0), winner)


def _support(policy: Majority, votes: Votes, same: NDArray) -> NDArray:
    """`(V, n)`: the sum of the confidences of all that share each candidate's value; none counts 0."""
    support = np.zeros(votes.has.shape)
    for v, surety in enumerate(votes.values(policy.confidence, largest)):
        if surety is not None:
            support += np.where(same[v], surety, 0.0)
    return support


def _ordinals(values: Values, leading: NDArray) -> NDArray:
    """`(V, n)`: numbers that order the leading values as they are ordered, texts after numbers."""
    ranks = np.zeros(leading.shape)
    texts = {t for v, m in zip(values, leading, strict=True) if v is not None and _is_text(v) for t in v[m]}
    order = {text: rank for rank, text in enumerate(sorted(texts))}
    numeric = [
        v[m].max(initial=0) for v, m in zip(values, leading, strict=True) if v is not None and not _is_text(v)
    ]
    beyond = float(max(numeric, default=0)) + 1
    for rank, value in zip(ranks, values, strict=True):
        if value is not None:
            rank[:] = [beyond + order.get(t, 0) for t in value] if _is_text(value) else value
    return ranks


def _pieces(output: str, values: Values, winner: NDArray, decided: NDArray) -> list[Piece]:
    winners = np.unique(winner[decided]).tolist()
    kinds = {np.asarray(values[v]).dtype for v in winners}
    if len(winners) > 1 and len(kinds) == 1:
        stacked = np.stack([np.asarray(values[v]) for v in winners])
        at = np.searchsorted(winners, winner).clip(0, len(winners) - 1)
        return [Piece(decided, {output: np.take_along_axis(stacked, at[None], axis=0)[0]})]
    return [Piece(decided & (winner == v), {output: np.asarray(values[v])}) for v in winners]


def _is_text(column: NDArray) -> bool:
    return column.dtype.kind in "OUS"
