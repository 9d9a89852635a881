"""Lower bounds of five distances between a stream and its training set, from a vector of counts a feature.

What is bounded is the share of each split (up to each edge) and the mean rank, all at once and at all times,
by the empirical Bernstein e-process. Any distance that they imply is then bounded too, so that no correction
over distances is due:

- `ks`: the largest difference between the shares up to an edge (Kolmogorov-Smirnov at the edges, in [0, 1]);
of texts the largest difference of a category's share. - `wasserstein`: the area between both distribution
functions in units of training rank, in [0, 1]; at least the difference of mean ranks, since the integral of
an absolute value is at least that of the value. A shift of d standard deviations of a normal feature is about
0.28 d. - `jensen_shannon`: the divergence in bits, in [0, 1]; at least that of any split, by the data
processing inequality (Csiszar, "Information-type measures of difference of probability distributions", 1967).
- `chi_squared`: sum (p - q)^2 / q over cells; at least (difference of means of f)^2 / variance of f for any f
(Hammersley, 1950; Chapman and Robbins, 1951), here for splits and ranks. - `shift`: the difference of mean
normal scores (van der Waerden), in their standard deviations: a shift of d standard deviations of a normal
feature is about d. It is bounded once, when a window is closed, by the normal approximation, which there is
far tighter than what holds at all times: of all tests of a shift of a normal feature, only the one that knows
its distribution beforehand finds more, and it little.

The training set is a sample too. A test with lambda that is fixed for a window of n records multiplies, where
the training mean of m records is off by e, by exp(lambda n e) at most; that factor's expectation is at most
1/2 + exp(v m (exp(lambda n / m) - 1 - lambda n / m)) for observations with variance v (Bennett, 1962), by
which the evidence is divided. Edges count as given: that they are quantiles of the same records only narrows
e.

The approximation is used for a feature only where it is one, as its own scores say: in the tail, at z
standard errors, it is off by exp(skewness z^3 / (6 sqrt n) + (kurtosis - 3) z^4 / (24 n)) (Feller, "An
introduction to probability theory and its applications" II, XVI.7), which may be 10 % in a window of the
declared size. A smaller one, in which it is more, has no bound of the shift.

Records are taken as independent of each other, given the distribution that they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from udfs.lifecycle.drift.reference import Reference, weigh
from udfs.lifecycle.evidence.bernstein import radius, rate_for

Floats = NDArray[np.float64]
_quantile = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])
SHARES = (0.9, 0.05, 0.05)
"""Of the false alarms that are allowed, those of the shift at a window's end, the mean rank and all splits.

The shift finds most. The mean rank finds what is larger before the window ends, and a change that neither
sees is mostly large in some split.
"""
SKEWED_SHARES = (0.0, 0.9, 0.1)
"""The same of a feature whose shift has no bound."""
_OFF = 0.1


@dataclass(frozen=True, slots=True)
class Bounds:
    """By distance, lower bounds of shape (k,). `splits` (k, s), `rank` and `shift` (k,): signed bounds, 0 if
    none."""

    distances: dict[str, Floats]
    splits: Floats
    rank: Floats
    shift: Floats


def bounds(
    reference: Reference,
    counts: NDArray[np.int64],
    alpha: Floats | float,
    window: int,
    *,
    closed: bool = False,
) -> Bounds:
    """Compare counts of shape (k, b), in the cells of the reference, of a window that may still go on.

    `alpha`: false alarms allowed a feature and window. `closed`: it does not go on; say so once. Above
    `window` records they are still bounds where the training set is much larger than the window.
    """
    means, variances = reference.means, reference.variances
    split_count = reference.splits.shape[1]
    normal = _near_normal(reference, alpha, np.full(len(means), float(window)))
    parts = np.where(normal[:, None], _parts(SHARES, split_count), _parts(SKEWED_SHARES, split_count))
    weights = np.where(reference.ordered[:, None], parts, 1 / split_count)
    weights[~reference.ordered, -1] = 0.0

    n = counts.sum(axis=1)[:, None].astype(np.float64)
    cells = counts.astype(np.float64)
    up_to = weigh(reference.splits, cells)
    rank_sums = (reference.ranks * cells).sum(axis=1)[:, None]
    rank_squares = (np.square(reference.ranks) * cells).sum(axis=1)[:, None]
    sums = np.concatenate([up_to, rank_sums], axis=1)
    squares = np.concatenate([up_to, rank_squares], axis=1)  # of a 0 or 1 its square is itself
    squares = squares - 2 * means * sums + n * np.square(means)

    with np.errstate(divide="ignore"):
        log_bound = np.log(2 / weights) - np.log(np.broadcast_to(alpha, n.shape[:1]))[:, None]
    usable = np.isfinite(log_bound) & (variances > 0)
    log_bound = np.where(usable, log_bound, 0.0)
    rows, until = reference.rows[:, None], np.maximum(n, window)
    rate = rate_for(np.maximum(log_bound, 1e-9), window * variances * (1 + window / rows))
    slack = _training_error(rate, variances, rows, until)
    off = radius(log_bound + slack, squares, n, rate)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.where(n > 0, sums / n - means, 0.0)
    signed = np.sign(difference) * np.maximum(np.abs(difference) - off, 0.0)
    # what never or always held in training has no known rate: schema anomalies report it
    signed = np.where(usable, signed, 0.0)
    distances = _distances(reference, signed, means, variances)
    shift = np.zeros(len(means))
    if closed:
        usable = normal & _near_normal(reference, alpha, n[:, 0])
        shift = np.where(usable, _shift(reference, counts, np.asarray(alpha) * SHARES[0]), 0.0)
    distances["shift"] = np.abs(shift)
    return Bounds(distances, signed[:, :-1], signed[:, -1], shift)


def _parts(shares: tuple[float, float, float], splits: int) -> Floats:
    parts = np.full(splits + 1, shares[2] / splits)
    parts[-1] = shares[1]
    return parts


def _near_normal(reference: Reference, alpha: Floats | float, n: Floats) -> NDArray[np.bool_]:
    """Of which features the mean score of n records is normal enough in the tail that counts."""
    z = _quantile(1 - np.asarray(alpha) * SHARES[0] / 2)
    skewness = np.abs((reference.scores**3 * reference.shares).sum(axis=1))
    kurtosis = np.abs((reference.scores**4 * reference.shares).sum(axis=1) - 3)
    n = np.maximum(n, 1.0)
    off = skewness * z**3 / (6 * np.sqrt(n)) + kurtosis * z**4 / (24 * n)
    return reference.ordered & reference.scores.any(axis=1) & (off <= _OFF)


def _shift(reference: Reference, counts: NDArray[np.int64], alpha: Floats) -> Floats:
    """Signed lower bounds of the shift, from all records of a window."""
    n = np.maximum(counts.sum(axis=1).astype(float), 1.0)
    means = (reference.scores * counts).sum(axis=1) / n
    own = (np.square(reference.scores) * counts).sum(axis=1) / n - np.square(means)
    off = _quantile(1 - alpha / 2) * np.sqrt(np.maximum(own, 1.0) / n + 1 / reference.rows)
    return np.sign(means) * np.maximum(np.abs(means) - off, 0.0)


def _training_error(rate: Floats, variances: Floats, rows: Floats, until: Floats) -> Floats:
    """Log of the factor by which a training set that is a sample can raise the evidence, in expectation."""
    u = np.minimum(rate * until / rows, 50.0)
    return np.logaddexp(np.log(0.5), np.minimum(variances * rows * (np.expm1(u) - u), 600.0))


def _distances(reference: Reference, signed: Floats, means: Floats, variances: Floats) -> dict[str, Floats]:
    splits, rank = signed[:, :-1], np.abs(signed[:, -1])
    widths = reference.widths
    area = np.where(reference.ordered, (np.abs(splits) * widths).sum(axis=1), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        chi = np.where(variances > 0, np.square(signed) / variances, 0.0)
    return {
        "ks": np.abs(splits).max(axis=1),
        "wasserstein": np.maximum(rank, area),
        "jensen_shannon": binary_jensen_shannon(means[:, :-1], means[:, :-1] + splits).max(axis=1),
        "chi_squared": chi.max(axis=1),
    }


def binary_jensen_shannon(p: Floats, q: Floats) -> Floats:
    """Of two coins with these probabilities, in bits."""
    middle = (p + q) / 2
    return np.maximum(_entropy(middle) - (_entropy(p) + _entropy(q)) / 2, 0.0)


def _entropy(p: Floats) -> Floats:
    p = np.clip(p, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    return np.where((p > 0) & (p < 1), bits, 0.0)


def observed(reference: Reference, counts: NDArray[np.int64]) -> dict[str, Floats]:
    """The distances as they are counted, without bounds: what a dashboard draws beside them. Shapes (k,)."""
    n = np.maximum(counts.sum(axis=1)[:, None], 1)
    q, p = counts / n, reference.shares
    splits = weigh(reference.splits, q - p)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / middle), 0) + np.where(q > 0, q * np.log2(q / middle), 0)
        chi = np.where(p > 0, np.square(q - p) / p, 0.0)
    area = (np.abs(splits) * reference.widths).sum(axis=1)
    return {
        "ks": np.abs(splits).max(axis=1),
        "wasserstein": np.where(reference.ordered, area, 0.0),
        "jensen_shannon": terms.sum(axis=1) / 2,
        "chi_squared": chi.sum(axis=1),
        "shift": np.where(reference.ordered, np.abs((reference.scores * q).sum(axis=1)), 0.0),
    }
