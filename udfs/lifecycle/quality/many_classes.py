"""Sums of a classifier of several classes: what it predicted, and what came."""

from __future__ import annotations

import math
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StatisticsError
from udfs.lifecycle.quality.class_figures import Confusion, Tabled, check_names, counted, figures_of, mean
from udfs.lifecycle.quality.classification import CLIP, area_of, calibration_error_of, calibration_of
from udfs.lifecycle.quality.exact_sums import Rest, add_to, exact_sum, merge_into

BINS = 64
"""Of each class's probability, equally wide on [0, 1]. Fewer than of two classes: there is a row of each."""

Floats = NDArray[np.float64]


class ManyClassesSums(Tabled, msgspec.Struct):
    """`classes`: their names, K of them; arrays go by their order. `confusion`: counts by class said and
    class that came, shape (K, K). `positives` and `negatives`: of each class and bin of its probability,
    how often it came and how often another did, shapes (K, 64); `score_sums`: sums of probabilities by class
    and bin.

    `unscored`: results without probabilities, which are not among the `predictions`. `rests`: what rounding
    left, of sums of which it left anything.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("classes",)
    COUNTS: ClassVar[tuple[str, ...]] = (
        "predictions",
        "unscored",
        "confusion",
        "positives",
        "negatives",
        "score_sums",
    )
    EXACT: ClassVar[tuple[str, ...]] = ("log_loss", "squares")
    classes: tuple[str, ...] = ()
    predictions: int = 0
    unscored: int = 0
    log_loss: float = 0.0
    squares: float = 0.0
    confusion: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(0, np.int64))
    positives: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(0, np.int64))
    negatives: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(0, np.int64))
    score_sums: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(0))
    rests: dict[str, Rest] = {}

    def __post_init__(self) -> None:
        k = check_names(self.classes)
        shapes = {"confusion": (k, k), **dict.fromkeys(("positives", "negatives", "score_sums"), (k, BINS))}
        for name, shape in shapes.items():
            array = getattr(self, name)
            setattr(self, name, array.reshape(shape) if array.size else np.zeros(shape, array.dtype))

    def add(self, scores: Floats, outcomes: Floats, without_outcome: int = 0) -> None:
        """Probabilities (n, K) with the places of the classes that came (n,), and how many predictions got no
        outcome. The class of the greatest probability is said, of equal ones the first.

        Raises `StatisticsError` for a score outside of [0, 1].
        """
        if scores.size and not (scores.min() >= 0 and scores.max() <= 1):  # NaN fails too
            raise StatisticsError("scores of classes must lie in [0, 1]: give probabilities")
        k, came = len(self.classes), outcomes.astype(np.intp)
        self.predictions += len(scores) + without_outcome
        if not len(scores):
            return
        has_come = came[:, None] == np.arange(k)
        self.confusion += counted(scores.argmax(axis=1) * k + came, k * k).reshape(k, k)
        losses = -np.log(np.maximum(scores[has_come], CLIP))
        squares = np.square(scores - has_come).sum(axis=1)
        add_to(self, "log_loss", exact_sum(losses.tolist()))
        add_to(self, "squares", exact_sum(squares.tolist()))
        place = np.minimum((scores * BINS).astype(np.intp), BINS - 1) + np.arange(k) * BINS
        self.positives += counted(place[has_come], k * BINS).reshape(k, BINS)
        self.negatives += counted(place[~has_come], k * BINS).reshape(k, BINS)
        sums = np.bincount(place.ravel(), weights=scores.ravel(), minlength=k * BINS)
        self.score_sums += sums.reshape(k, BINS)

    def merge(self, other: ManyClassesSums, sign: int = 1) -> None:
        """Take in other sums, or with -1 out of these. Raises `StatisticsError` for other classes."""
        merge_into(self, other, sign)

    @property
    def arrays(self) -> list[np.ndarray]:
        return [self.positives, self.negatives, self.score_sums]

    def figures(self) -> dict[str, float]:
        """As `figures_of`.

        `precision` and `recall` are means, as of `Confusion`, which has those of each class too. `brier` is
        the mean of the squared differences, summed over classes: 0 to 2. `calibration_error`, `auc` and what
        belongs to it are means over classes, each against all others.
        """
        table = Confusion(self.confusion, self.classes)
        return figures_of(self, *table.means) | table.of_each

    def area(self) -> tuple[float, float, float]:
        """Of the ROC curve, as of two classes: the mean over each class against all others, of classes of
        which that is known; how far binning can put it off at most; and the most its standard error can be,
        which is that of classes whose areas go together."""
        known = [of for of in map(area_of, self.positives, self.negatives) if not math.isnan(of[0])]
        if not known:
            return math.nan, math.nan, math.nan
        area, binned, error = np.mean(known, axis=0).tolist()
        return area, binned, error

    def calibration(self, bins: int = 16) -> dict[str, list[tuple[int, float, float]]]:
        """Class -> (records, mean probability, share of the class) of wider bins; `bins` divides 64."""
        of_each = zip(self.classes, *self.arrays, strict=True)
        return {name: calibration_of(came, not_, sums, bins) for name, came, not_, sums in of_each}

    def calibration_error(self) -> float:
        """The class-wise expected calibration error: the mean of that of each class.

        Kull and others, "Beyond temperature scaling: obtaining well-calibrated multiclass probabilities with
        Dirichlet calibration", 2019.
        """
        return mean(np.array([calibration_error_of(of) for of in self.calibration().values()]))
