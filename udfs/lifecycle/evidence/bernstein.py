"""Evidence about the mean of bounded observations from their sums alone.

For observations x in [0, 1] with conditional mean at most m, a guess g in [0, 1] that is fixed before them,
and lambda in [0, 1),

    E = exp(lambda * sum(x - m) - psi(lambda) * sum((x - g)^2)),   psi(lambda) = -log(1 - lambda) - lambda,

is an e-process: at no time its expectation is above 1, and P(E >= 1/alpha at any time) <= alpha by Ville's
inequality. Source: the empirical Bernstein supermartingale of Fan, Grama and Liu, "Exponential inequalities
for martingales with applications" (Electronic Journal of Probability 20, 2015), as in Howard, Ramdas,
McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences" (Annals of Statistics
49(2), 2021), Theorem 4. With a constant guess it is a function of sums, so that parts add up in any order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def psi(rate: ArrayLike) -> Floats:
    """psi(lambda) of the exponential distribution, for lambda in [0, 1)."""
    rate = np.asarray(rate, np.float64)
    return -np.log1p(-rate) - rate


def rate_for(log_bound: ArrayLike, squares: ArrayLike) -> Floats:
    """The lambda that makes the bound tightest when `squares` of sum((x - g)^2) have come.

    `log_bound` is log(1/alpha). With psi near lambda^2 / 2 the best is sqrt(2 log(1/alpha) / squares); it is
    kept below 1/2, where psi is still close to that.
    """
    squares = np.maximum(np.asarray(squares, np.float64), 1e-12)
    return np.minimum(np.sqrt(2 * np.asarray(log_bound) / squares), 0.5)


def log_evidence(excess: ArrayLike, squares: ArrayLike, rate: ArrayLike) -> Floats:
    """log E, from `excess` = sum(x - m) and `squares` = sum((x - g)^2)."""
    rate = np.asarray(rate, np.float64)
    return rate * np.asarray(excess) - psi(rate) * np.asarray(squares)


def radius(log_bound: ArrayLike, squares: ArrayLike, count: ArrayLike, rate: ArrayLike) -> Floats:
    """How far the mean of `count` observations lies above their true mean at most, at all times at once.

    With probability 1 - alpha; infinite where nothing has come.
    """
    rate, count = np.asarray(rate, np.float64), np.asarray(count, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (np.asarray(log_bound) + psi(rate) * np.asarray(squares)) / (rate * count)
    return np.where(count > 0, found, np.inf)
