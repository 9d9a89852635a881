"""Confidence sequences for a quantile, for latencies.

How many of n observations lie at or below the q-quantile is binomial with q. Mixed over the bets with a beta
distribution, the likelihood ratio

    M(k, n) = B(a + k, b + n - k) / B(a, b) / (q^k (1 - q)^(n - k))

is a martingale with M = 1 at the start, so that a value whose count k has M >= 1/alpha is not the quantile
(Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
identification", Bernoulli 28(3), 2022, which bounds quantiles by such sequences of counts).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PRIOR_WEIGHT = 20.0


def log_mixture(k: int, n: int, q: float) -> float:
    """log M."""
    a, b = PRIOR_WEIGHT * q, PRIOR_WEIGHT * (1 - q)
    beta = math.lgamma(a + k) + math.lgamma(b + n - k) - math.lgamma(a + b + n)
    start = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return beta - start - k * math.log(q) - (n - k) * math.log1p(-q)


def counts_within(n: int, q: float, alpha: float) -> tuple[int, int]:
    """The smallest and the largest k that are not refuted. log M is convex in k, and lowest near n q."""
    bound, middle = -math.log(alpha), round(n * q)
    low, high = 0, middle
    while low < high:  # the smallest k with log M < bound
        k = (low + high) // 2
        low, high = (low, k) if log_mixture(k, n, q) < bound else (k + 1, high)
    smallest = low
    low, high = middle, n
    while low < high:
        k = (low + high + 1) // 2
        low, high = (k, high) if log_mixture(k, n, q) < bound else (low, k - 1)
    return smallest, low


def quantile_interval(counts: NDArray[np.int64], ends: Floats, q: float, alpha: float) -> tuple[float, float]:
    """Where the q-quantile lies, at all times at once, from counts in bins.

    `ends` of shape (len(counts) + 1,): bin i holds what is above ends[i] and at most ends[i + 1]; the first
    and the last may be infinite.
    """
    n = int(counts.sum())
    if not n:
        return float(ends[0]), float(ends[-1])
    below = np.cumsum(counts)
    smallest, largest = counts_within(n, q, alpha)
    # an end with a count below the smallest lies under the quantile, one with more than the largest above
    under = int(np.searchsorted(below, smallest, side="left"))
    over = int(np.searchsorted(below, largest, side="right"))
    return float(ends[under]), float(ends[min(over, len(counts) - 1) + 1])
