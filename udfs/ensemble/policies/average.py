"""Mean and median of the answers, element by element."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from schemas.plans.plan import MeanAnswer, MedianAnswer
from udfs.ensemble.policies.votes import Piece, Verdict, Votes, judge, numbers

_Formula = Callable[[NDArray, NDArray, NDArray], NDArray]


@judge.register
def mean(policy: MeanAnswer, votes: Votes) -> Verdict:
    weights = np.array([policy.weights.get(n, 0.0) if policy.weights else 1.0 for n in votes.names])
    return _combined(votes, policy.output, policy.least, weights, weighted_mean)


@judge.register
def median(policy: MedianAnswer, votes: Votes) -> Verdict:
    return _combined(votes, policy.output, policy.least, np.ones(len(votes.names)), middle)


def weighted_mean(values: NDArray, usable: NDArray, weights: NDArray) -> NDArray:
    """Over the first axis of `values` `(V, n, *shape)`, where `usable` `(V, n)`; 0 where none is."""
    share = weights[:, None] * usable
    whole = share.sum(axis=0)
    whole = np.where(whole > 0, whole, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        found = _sum(values, share) / _beside(whole, values[0])
    if np.isfinite(found).all():
        return found
    # the sum was too large, which the mean is not
    return np.where(np.isfinite(found), found, _sum(values, share / whole))


def middle(values: NDArray, usable: NDArray, weights: NDArray) -> NDArray:
    """The median over the first axis of `values` `(V, n, *shape)`, where `usable` `(V, n)`."""
    ranked = np.sort(np.where(_beside(usable, values), values, np.inf), axis=0)
    last = np.maximum(usable.sum(axis=0) - 1, 0)
    low, high = (
        np.take_along_axis(ranked, _beside(at, values[0])[None], axis=0)[0]
        for at in (last // 2, last - last // 2)
    )
    return np.where(low == high, low, low * 0.5 + high * 0.5)


def _combined(votes: Votes, output: str, least: int, weights: NDArray, formula: _Formula) -> Verdict:
    part = weights > 0
    values = votes.values(output, numbers)
    usable = votes.usable(values) & part[:, None]
    n, to_come = usable.sum(axis=0), (votes.pending & part[:, None]).sum(axis=0)
    shapes: dict[tuple[int, ...], list[int]] = {}
    for v, value in enumerate(values):
        if value is not None and part[v]:
            shapes.setdefault(value.shape[1:], []).append(v)
    groups = [(members, usable[members].any(axis=0)) for members in shapes.values()]
    kinds = np.zeros(votes.count, dtype=np.int64)
    for _, seen in groups:
        kinds += seen
    differ = kinds > 1
    decided = (n >= least) & ~differ
    pieces = []
    for members, seen in groups:
        mask = decided & seen
        if mask.any():
            stacked = np.stack([np.asarray(values[v]) for v in members])
            pieces.append(Piece(mask, {output: formula(stacked, usable[members], weights[members])}))
    reasons = (
        f"fewer than {least} answers with {output!r} in time",
        f"answers differ in the shape of {output!r}",
    )
    return Verdict(
        decided, (to_come > 0) & (n + to_come >= least), pieces, (n >= least).astype(np.int64), reasons
    )


def _sum(values: NDArray, share: NDArray) -> NDArray:
    """In the order of the candidates' names, whoever came first: sums of floats depend on their order."""
    total = np.zeros(values.shape[1:])
    for value, weight in zip(values, share, strict=True):
        there = _beside(weight, value)
        total += np.where(there > 0, value, 0.0) * there
    return total


def _beside(known: NDArray, values: NDArray) -> NDArray:
    """With as many dimensions as `values`, by dimensions of one at the end."""
    return known.reshape(known.shape + (1,) * (values.ndim - known.ndim))
