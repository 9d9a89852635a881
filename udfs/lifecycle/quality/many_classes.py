"""Sums of a classifier of several classes: what it predicted, and what came."""

from __future__ import annotations

import math
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StatisticsError
from udfs.lifecycle.quality.classification import (
    CLIP,
    area_of,
    calibration_error_of,
    calibration_of,
    ratio,
)
from udfs.lifecycle.quality.exact_sums import Rest, add_to, exact_sum

BINS = 64
"""Of each class's probability, equally wide on [0, 1]. Fewer than of two classes: there is a row of each."""
MOST_CLASSES = 64

Floats = NDArray[np.float64]
_COUNTS = ("predictions", "unscored", "confusion", "positives", "negatives", "score_sums")


class ManyClassesSums(msgspec.Struct):
    """`classes`: their names, K of them; arrays go by their order. `confusion`: counts by class said and
    class that came, shape (K, K). `positives` and `negatives`: of each class and bin of its probability,
    how often it came and how often another did, shapes (K, 64); `score_sums`: sums of probabilities by class
    and bin.

    `unscored`: results without probabilities, which are not among the `predictions`. `rests`: what rounding
    left, of sums of which it left anything.
    """

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
        k = len(self.classes)
        if not 1 < k <= MOST_CLASSES or len(set(self.classes)) < k:
            raise ValueError(f"{k} classes, or two of one name: there are 2 to {MOST_CLASSES}")
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
        self.confusion += _counted(scores.argmax(axis=1) * k + came, k * k).reshape(k, k)
        losses = -np.log(np.maximum(scores[has_come], CLIP))
        squares = np.square(scores - has_come).sum(axis=1)
        add_to(self, "log_loss", exact_sum(losses.tolist()))
        add_to(self, "squares", exact_sum(squares.tolist()))
        place = np.minimum((scores * BINS).astype(np.intp), BINS - 1) + np.arange(k) * BINS
        self.positives += _counted(place[has_come], k * BINS).reshape(k, BINS)
        self.negatives += _counted(place[~has_come], k * BINS).reshape(k, BINS)
        sums = np.bincount(place.ravel(), weights=scores.ravel(), minlength=k * BINS)
        self.score_sums += sums.reshape(k, BINS)

    def merge(self, other: ManyClassesSums, sign: int = 1) -> None:
        """Take in other sums, or with -1 out of these. Raises `StatisticsError` for other classes."""
        if self.terms != other.terms:
            ours, theirs = ", ".join(self.classes), ", ".join(other.classes)
            raise StatisticsError(f"sums of the classes {ours} and of {theirs} do not add up")
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))
        for name in self.EXACT:
            add_to(self, name, (getattr(other, name), other.rests.get(name, ())), sign)

    @property
    def terms(self) -> tuple[str, ...]:
        """Sums of the same add up."""
        return self.classes

    @property
    def arrays(self) -> list[np.ndarray]:
        return [self.positives, self.negatives, self.score_sums]

    @property
    def outcomes(self) -> int:
        return int(self.confusion.sum())

    @property
    def right(self) -> int:
        return int(np.trace(self.confusion))

    def figures(self) -> dict[str, float]:
        """By name; what is not known is NaN. `coverage`: the share of predictions with an outcome.

        `precision` and `recall` are means over the classes that came or were said, where one that was never
        said has a precision of 0 and one that never came a recall of 0; `precision(NAME)` and so on are of
        each class. `brier` is the mean of the squared differences, summed over classes: 0 to 2.
        `calibration_error`, `auc` and what belongs to it are means over classes, each against all others.
        """
        n, right = self.outcomes, self.confusion.diagonal()
        said, came = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        seen = (said + came) > 0
        precision, recall = _ratios(right, said), _ratios(right, came)
        area, binned, error = self.area()
        return {
            "predictions": float(self.predictions),
            "unscored": float(self.unscored),
            "outcomes": float(n),
            "coverage": ratio(n, self.predictions),
            "accuracy": ratio(self.right, n),
            "precision": _mean(np.nan_to_num(precision)[seen]),
            "recall": _mean(np.nan_to_num(recall)[seen]),
            "log_loss": ratio(self.log_loss, n),
            "brier": ratio(self.squares, n),
            "calibration_error": self.calibration_error(),
            "auc": area,
            "auc_binning_error": binned,
            "auc_standard_error": error,
            **{f"precision({name})": p for name, p in zip(self.classes, precision.tolist(), strict=True)},
            **{f"recall({name})": r for name, r in zip(self.classes, recall.tolist(), strict=True)},
        }

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
        return _mean(np.array([calibration_error_of(of) for of in self.calibration().values()]))


def _counted(places: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    return np.bincount(places, minlength=count).astype(np.int64)


def _ratios(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> Floats:
    return np.divide(parts, wholes, out=np.full(len(parts), math.nan), where=wholes > 0)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan
