"""Sums of a regression: how far predictions were from what came."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StatisticsError
from udfs.lifecycle.quality.exact_sums import Rest, add_to, exact_sum, merge_into

ACCURACY = 0.01
"""The relative error of quantiles."""
GROWTH = math.log((1 + ACCURACY) / (1 - ACCURACY))
MOST_PLACE = 40_000
"""No double has an error in a bin beyond that, on either side of 0."""

Floats = NDArray[np.float64]


class RegressionSums(msgspec.Struct):
    """`error_counts`: absolute errors by bin, bin i up to gamma^i with gamma = 1.01 / 0.99; `exact` are those
    without any. Integer counts in logarithmic bins, as in Masson, Rim and Lee, "DDSketch: a fast and
    fully-mergeable quantile sketch with relative-error guarantees" (VLDB 2019). `unscored`: results without
    a score, which are not among the predictions. `rests`: what rounding left, of sums of which it left
    anything.
    """

    TERMS: ClassVar[tuple[str, ...]] = ()
    COUNTS: ClassVar[tuple[str, ...]] = ("predictions", "unscored", "outcomes", "exact")
    EXACT: ClassVar[tuple[str, ...]] = ("absolute", "squares", "signed")
    predictions: int = 0
    unscored: int = 0
    outcomes: int = 0
    absolute: float = 0.0
    squares: float = 0.0
    signed: float = 0.0
    exact: int = 0
    error_counts: dict[int, int] = msgspec.field(default_factory=dict)
    rests: dict[str, Rest] = {}

    def add(self, predicted: Floats, came: Floats, without_outcome: int = 0) -> None:
        """Predictions with their outcomes, shapes (n,), and how many predictions got none.

        Raises `StatisticsError` for what is not finite.
        """
        off = predicted - came
        with np.errstate(over="ignore"):
            squares = np.square(off)
        if not np.isfinite(squares).all():
            raise StatisticsError(
                "predictions and outcomes of a regression must be finite, and no errors huge"
            )
        self.predictions += off.size + without_outcome
        self.outcomes += off.size
        size = np.abs(off)
        for name, values in zip(self.EXACT, (size, squares, off), strict=True):
            add_to(self, name, exact_sum(values.tolist()))
        self.exact += int((size == 0).sum())
        some = size[size > 0]
        places, counts = np.unique(np.ceil(np.log(some) / GROWTH).astype(int), return_counts=True)
        self._count(zip(places.tolist(), counts.tolist(), strict=True))

    def merge(self, other: RegressionSums, sign: int = 1) -> None:
        """Take in other sums, or with -1 out of these."""
        merge_into(self, other, sign)
        self._count((place, sign * count) for place, count in other.error_counts.items())

    def _count(self, counted: Iterable[tuple[int, int]]) -> None:
        for place, count in counted:
            left = self.error_counts.get(place, 0) + count
            if left:
                self.error_counts[place] = left
            else:
                del self.error_counts[place]

    def error_quantile(self, q: float) -> float:
        """Of the absolute error, within 1 % of it; NaN where no outcome has come."""
        if not self.outcomes:
            return math.nan
        rank, below = q * (self.outcomes - 1), self.exact
        if rank < below:
            return 0.0
        for place in sorted(self.error_counts):
            below += self.error_counts[place]
            if rank < below:
                return 2 * math.exp(place * GROWTH) / (1 + math.exp(GROWTH))
        return math.nan

    def figures(self) -> dict[str, float]:
        """By name; what nothing is known about is NaN. `bias` is predicted minus came."""
        n = self.outcomes or math.nan
        return {
            "predictions": float(self.predictions),
            "unscored": float(self.unscored),
            "outcomes": float(self.outcomes),
            "coverage": self.outcomes / self.predictions if self.predictions else math.nan,
            "mae": self.absolute / n,
            "rmse": math.sqrt(max(self.squares, 0.0) / n),  # below 0 by state from before there were rests
            "bias": self.signed / n,
            "error_p50": self.error_quantile(0.5),
            "error_p90": self.error_quantile(0.9),
            "error_p99": self.error_quantile(0.99),
        }
