"""The training set as a stream is compared with it: features of one kind and number of bins side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StatisticsError
from udfs.lifecycle.statistics.feature import FeatureStatistics

Floats = NDArray[np.float64]
_QUANTILE = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])


def vector(feature: FeatureStatistics) -> NDArray[np.int64]:
    """What a feature is compared by: counts of missing (and nested), number bins, then text bins."""
    return np.concatenate(
        [[feature.missing + feature.nested], feature.number_counts, feature.text_counts]
    ).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Reference:
    """k features with b cells each. `shares` (k, b) are the training set's, of `rows` (k,) records.

    `splits` (k, s, b) of 0 and 1: the events whose shares are compared, s = b of them. Of an ordered feature
    these are what lies up to each edge; of one with texts, each cell by itself. `ranks` (k, b) in [0, 1]: the
    mid-rank of each cell in the training set; `scores` (k, b): the normal score of that rank, with mean 0 and
    deviation 1 over the training set (all 0 where there is one cell only). `ordered` (k,): whether cells have
    an order, so that ranks mean something. `means` and `variances` (k, s + 1) are the training set's: of each
    split, and last of the rank.
    """

    names: tuple[str, ...]
    shares: Floats
    rows: Floats
    splits: Floats
    ranks: Floats
    scores: Floats
    ordered: NDArray[np.bool_]
    means: Floats
    variances: Floats

    @classmethod
    def of(cls, features: Sequence[tuple[str, FeatureStatistics]]) -> Reference:
        """Raises `StatisticsError` for none, for different bins, and for a feature that was never counted."""
        vectors = [vector(feature) for _, feature in features]
        if len({len(v) for v in vectors}) != 1:
            raise StatisticsError("features side by side must have the same number of bins, and one at least")
        ordered = np.array([not feature.bins.categories for _, feature in features])
        return cls.counted([name for name, _ in features], np.stack(vectors), ordered)

    @classmethod
    def counted(cls, names: Sequence[str], counts: NDArray, ordered: NDArray[np.bool_]) -> Reference:
        """From counts of shape (k, b)."""
        rows = counts.sum(axis=1)
        if not rows.all():
            raise StatisticsError(f"the training set has no record of {names[int(np.argmin(rows))]!r}")
        shares = counts / rows[:, None]
        below = np.cumsum(shares, axis=1)
        cells = counts.shape[1]
        up_to = np.tril(np.ones((cells, cells)))
        splits = np.where(ordered[:, None, None], up_to, np.eye(cells))
        ranks = below - shares / 2
        means = np.concatenate([weigh(splits, shares), (ranks * shares).sum(axis=1)[:, None]], axis=1)
        squares = means.copy()
        squares[:, -1] = (np.square(ranks) * shares).sum(axis=1)
        variances = np.maximum(squares - np.square(means), 0.0)
        scores = normal_scores(shares, ranks)
        return cls(tuple(names), shares, rows.astype(float), splits, ranks, scores, ordered, means, variances)

    @property
    def widths(self) -> Floats:
        """From each cell's rank to the next one's, of shape (k, b); 0 after the last."""
        return np.diff(self.ranks, axis=1, append=self.ranks[:, -1:])


def normal_scores(shares: Floats, ranks: Floats) -> Floats:
    """The scores of van der Waerden, "Order tests for the two-sample problem and their power" (Indagationes
    Mathematicae 14, 1952), of cells with these shares and mid-ranks; standardised. Shapes (k, b).

    Cells at the ends, which the training set may not have, have the score of a quarter of an even cell.
    """
    least = 1 / (4 * ranks.shape[1])
    scores = _QUANTILE(np.clip(ranks, least, 1 - least))
    scores = scores - (scores * shares).sum(axis=1, keepdims=True)
    deviations = np.sqrt((np.square(scores) * shares).sum(axis=1, keepdims=True))
    return np.divide(scores, deviations, out=np.zeros_like(scores), where=deviations > 1e-12)


def weigh(splits: Floats, values: Floats) -> Floats:
    """Of each split the sum of the values of its cells: (k, s, b) and (k, b) give (k, s)."""
    return np.matmul(splits, values[:, :, None])[:, :, 0]
