"""Policies that choose one candidate's answer, with all its outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.plans.plan import BestConfidence, BestQuality, First, Prefer
from udfs.ensemble.policies.votes import Piece, Verdict, Votes, judge, largest

_NO_ANSWER = "no candidate answered in time"


@judge.register
def first(policy: First, votes: Votes) -> Verdict:
    """Depends on the order of arrival, as no other policy does but a majority whose tie is 'first'."""
    order = np.argsort(votes.arrival, kind="stable").tolist()
    winner = _earliest(votes.has, order)
    return _chosen(votes, winner, (winner < 0) & votes.pending.any(axis=0), _NO_ANSWER)


@judge.register
def prefer(policy: Prefer, votes: Votes) -> Verdict:
    ranked = [votes.names.index(name) for name in policy.candidates if name in votes.names]
    return _ranked(votes, ranked, f"none of {', '.join(policy.candidates)} answered in time")


@judge.register
def best_quality(policy: BestQuality, votes: Votes) -> Verdict:
    sign = -1 if policy.better == "higher" else 1
    found = [(sign * votes.metrics.get(n, {}).get(policy.metric, math.nan), n) for n in votes.names]
    ranked = [votes.names.index(n) for value, n in sorted(f for f in found if math.isfinite(f[0]))]
    return _ranked(votes, ranked, f"no candidate with the metric {policy.metric!r} answered in time")


@judge.register
def best_confidence(policy: BestConfidence, votes: Votes) -> Verdict:
    """Waits for every candidate: the next one may be surer."""
    values = votes.values(policy.confidence, largest)
    usable = votes.usable(values)
    best = np.full(votes.count, -np.inf)
    winner = np.full(votes.count, -1)
    for v, value in enumerate(values):
        if value is not None:
            better = usable[v] & ((winner < 0) | (value > best))
            winner[better], best[better] = v, value[better]
    return _chosen(
        votes, winner, votes.pending.any(axis=0), f"no answer in time has the output {policy.confidence!r}"
    )


def _ranked(votes: Votes, ranked: Sequence[int], reason: str) -> Verdict:
    winner = _earliest(votes.has, ranked)
    waits = np.zeros(votes.count, dtype=bool)
    better = np.ones(votes.count, dtype=bool)  # no one ranked so far has answered
    for v in ranked:
        better &= ~votes.has[v]
        waits |= better & votes.pending[v]
    return _chosen(votes, winner, waits, reason)


def _earliest(has: NDArray, order: Sequence[int]) -> NDArray:
    """The first of `order` that has an answer, record by record; -1 where none has."""
    winner = np.full(has.shape[1], -1)
    for v in reversed(order):
        winner[has[v]] = v
    return winner


def _chosen(votes: Votes, winner: NDArray, waits: NDArray, reason: str) -> Verdict:
    pieces = [
        Piece(winner == v, votes.columns[v], votes.names[v]) for v in np.unique(winner[winner >= 0]).tolist()
    ]
    return Verdict(winner >= 0, waits, pieces, np.zeros(votes.count, dtype=np.int64), (reason,))
