"""Categories of which the most, or the median, of the segments' probabilities decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Votes:
    """What the segments say of n rows: `shares` `(segments, n, k)`, NaN where a segment has no prediction;
    `weights` `(segments, n)`, 0 where a segment does not apply."""

    shares: NDArray
    weights: NDArray


def contributed(votes: Votes, median: bool) -> tuple[NDArray[np.int64], NDArray]:
    """The category whose greatest (or median) probability is the highest, -1 for none, and the probabilities
    `(n, k)`: the mean of those of the segments that have this probability, of an even number of segments one
    of the two in the middle (PMML 4.4, Multiple Models)."""
    heard = votes.weights > 0
    count = heard.sum(axis=0)
    ordered = np.sort(np.where(heard[:, :, None], votes.shares, np.inf), axis=0)
    first, last = ((count - 1) // 2, count // 2) if median else (count - 1, count - 1)
    low, high = (_at(ordered, np.maximum(place, 0)) for place in (first, last))
    label = ((low + high) / 2).argmax(axis=1)
    rows = np.arange(len(label))
    of_winner = votes.shares[:, rows, label]
    chosen = heard & ((of_winner == low[rows, label]) | (of_winner == high[rows, label]))
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(chosen[:, :, None], votes.shares, 0).sum(axis=0) / chosen.sum(axis=0)[:, None]
    unknown = (np.isnan(votes.shares).any(axis=2) & heard).any(axis=0) | (count == 0)
    shares[unknown] = np.nan
    return np.where(unknown, -1, label), shares


def _at(ordered: NDArray, places: NDArray[np.int64]) -> NDArray:
    """`(n, k)`: of each row the segment in its place."""
    found: NDArray = np.take_along_axis(ordered, places[None, :, None], axis=0)[0]
    return found
