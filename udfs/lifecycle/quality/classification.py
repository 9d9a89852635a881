"""Sums of a classifier of two classes: what it predicted, and what came."""

from __future__ import annotations

import math
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StatisticsError
from udfs.lifecycle.quality.class_figures import figures_of, ratio
from udfs.lifecycle.quality.exact_sums import Rest, add_to, exact_sum, merge_into

BINS = 256
"""Of scores, equally wide on [0, 1]; the error of the area that they cause is reported."""
CLIP = 1e-15
"""Scores of 0 and 1 count as this and its complement in the log loss, which would be infinite."""

Floats = NDArray[np.float64]


class ClassificationSums(msgspec.Struct):
    """`positives` and `negatives` are counts by bin of the score (256,), `score_sums` sums of scores by bin.

    `unscored`: results without a score, which are not among the predictions.
    `predictions` of which `outcomes` have come; `true_positives` and so on at `threshold`. `rests`: what
    rounding left, of sums of which it left anything.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("threshold",)
    COUNTS: ClassVar[tuple[str, ...]] = (
        "predictions",
        "unscored",
        "true_positives",
        "false_positives",
        "true_negatives",
        "false_negatives",
        "positives",
        "negatives",
        "score_sums",
    )
    EXACT: ClassVar[tuple[str, ...]] = ("log_loss", "squares")
    threshold: float = 0.5
    predictions: int = 0
    unscored: int = 0
    true_positives: int = 0
    false_positives: int = 0
    true_negatives: int = 0
    false_negatives: int = 0
    log_loss: float = 0.0
    squares: float = 0.0
    positives: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(BINS, np.int64))
    negatives: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(BINS, np.int64))
    score_sums: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(BINS))
    rests: dict[str, Rest] = {}

    def add(self, scores: Floats, outcomes: NDArray[np.bool_], without_outcome: int = 0) -> None:
        """Scores in [0, 1] with their outcomes, shapes (n,), and how many predictions got none.

        Raises `StatisticsError` for a score outside of [0, 1].
        """
        if scores.size and not (scores.min() >= 0 and scores.max() <= 1):  # NaN fails too
            raise StatisticsError("scores of classes must lie in [0, 1]: give probabilities")
        outcomes = outcomes.astype(bool)
        said = scores >= self.threshold
        self.predictions += scores.size + without_outcome
        self.true_positives += int((said & outcomes).sum())
        self.false_positives += int((said & ~outcomes).sum())
        self.true_negatives += int((~said & ~outcomes).sum())
        self.false_negatives += int((~said & outcomes).sum())
        near = np.clip(scores, CLIP, 1 - CLIP)
        losses, squares = -np.log(np.where(outcomes, near, 1 - near)), np.square(scores - outcomes)
        add_to(self, "log_loss", exact_sum(losses.tolist()))
        add_to(self, "squares", exact_sum(squares.tolist()))
        place = np.minimum((scores * BINS).astype(np.intp), BINS - 1)
        self.positives += np.bincount(place[outcomes], minlength=BINS)
        self.negatives += np.bincount(place[~outcomes], minlength=BINS)
        self.score_sums += np.bincount(place, weights=scores, minlength=BINS)

    def merge(self, other: ClassificationSums, sign: int = 1) -> None:
        """Take in other sums, or with -1 out of these. Raises `StatisticsError` for another threshold."""
        merge_into(self, other, sign)

    @property
    def arrays(self) -> list[np.ndarray]:
        return [self.positives, self.negatives, self.score_sums]

    @property
    def outcomes(self) -> int:
        return self.true_positives + self.false_positives + self.true_negatives + self.false_negatives

    def figures(self) -> dict[str, float]:
        """As `figures_of`."""
        said = self.true_positives + self.false_positives
        came = int(self.positives.sum())
        return figures_of(self, ratio(self.true_positives, said), ratio(self.true_positives, came))

    @property
    def right(self) -> int:
        return self.true_positives + self.true_negatives

    def area(self) -> tuple[float, float, float]:
        """As `area_of`."""
        return area_of(self.positives, self.negatives)

    def calibration(self, bins: int = 16) -> list[tuple[int, float, float]]:
        """(records, mean score, share of positives) of equally wide bins of the score; `bins` divides 256."""
        return calibration_of(self.positives, self.negatives, self.score_sums, bins)

    def calibration_error(self) -> float:
        """As `calibration_error_of`."""
        return calibration_error_of(self.calibration())


def area_of(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> tuple[float, float, float]:
    """The area under the ROC curve from binned scores; how far binning can put it off at most; and its
    standard error by chance. NaN where there are no positives, or no negatives, or fewer than none: a
    correction of what was counted under other settings takes out what these sums have not.

    Pairs inside one bin count half (as ties do), so that the exact area is at most half of their share
    away. The standard error is that of Hanley and McNeil, "The meaning and use of the area under a
    receiver operating characteristic (ROC) curve" (Radiology 143, 1982).
    """
    p, n = int(positives.sum()), int(negatives.sum())
    if not p or not n or positives.min() < 0 or negatives.min() < 0:
        return math.nan, math.nan, math.nan
    below = np.cumsum(negatives) - negatives
    ties = sum(a * b for a, b in zip(positives.tolist(), negatives.tolist(), strict=True))
    wins = sum(a * b for a, b in zip(positives.tolist(), below.tolist(), strict=True))
    area = (wins + ties / 2) / (p * n)
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    variance = area * (1 - area) + (p - 1) * (q1 - area * area) + (n - 1) * (q2 - area * area)
    return area, ties / (2 * p * n), math.sqrt(max(variance, 0.0) / (p * n))


def calibration_of(
    positives: NDArray[np.int64], negatives: NDArray[np.int64], score_sums: Floats, bins: int
) -> list[tuple[int, float, float]]:
    """(records, mean score, share of positives) of wider bins; their number divides that of the arrays."""
    shape = (bins, len(positives) // bins)
    came, sums = positives.reshape(shape).sum(axis=1), score_sums.reshape(shape).sum(axis=1)
    counts = came + negatives.reshape(shape).sum(axis=1)
    return [
        (n, ratio(s, n), ratio(p, n))
        for n, s, p in zip(counts.tolist(), sums.tolist(), came.tolist(), strict=True)
    ]


def calibration_error_of(bins: list[tuple[int, float, float]]) -> float:
    """The expected calibration error: the mean distance of score and share over bins, by their records.

    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", 2015.
    """
    apart = sum(n * abs(score - share) for n, score, share in bins if n)
    return ratio(apart, sum(n for n, _, _ in bins))
