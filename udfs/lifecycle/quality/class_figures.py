"""Figures of classifiers, of two classes and of many, of probabilities and of labels alone."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES = 64


class RightAndWrong(Protocol):
    """Sums of a classifier. `outcomes`: predictions whose outcome is known; `right`: those of them that said
    the class that came."""

    predictions: int
    unscored: int

    @property
    def outcomes(self) -> int: ...

    @property
    def right(self) -> int: ...


class OfProbabilities(RightAndWrong, Protocol):
    """Sums of one that gives probabilities."""

    log_loss: float
    squares: float

    def calibration_error(self) -> float: ...

    def area(self) -> tuple[float, float, float]: ...


class Tabled:
    """Sums that hold a table, `confusion`: counts by class said and class that came."""

    __slots__ = ()
    confusion: np.ndarray

    @property
    def outcomes(self) -> int:
        return int(self.confusion.sum())

    @property
    def right(self) -> int:
        return int(np.trace(self.confusion))


def figures_of_counts(sums: RightAndWrong, precision: float, recall: float) -> dict[str, float]:
    """By name; what is not known is NaN. `coverage`: the share of predictions with an outcome."""
    n = sums.outcomes
    return {
        "predictions": float(sums.predictions),
        "unscored": float(sums.unscored),
        "outcomes": float(n),
        "coverage": ratio(n, sums.predictions),
        "accuracy": ratio(sums.right, n),
        "precision": precision,
        "recall": recall,
    }


def figures_of(sums: OfProbabilities, precision: float, recall: float) -> dict[str, float]:
    """As `figures_of_counts`, and what probabilities tell beyond that."""
    n = sums.outcomes
    area, binned, error = sums.area()
    return {
        **figures_of_counts(sums, precision, recall),
        "log_loss": ratio(sums.log_loss, n),
        "brier": ratio(sums.squares, n),
        "calibration_error": sums.calibration_error(),
        "auc": area,
        "auc_binning_error": binned,
        "auc_standard_error": error,
    }


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


class Confusion:
    """What a table says of counts by class said and class that came, shape (K, K), of K names."""

    def __init__(self, counts: NDArray[np.int64], names: tuple[str, ...]) -> None:
        right, said, came = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        self._names, self._seen = names, (said + came) > 0
        self._precision, self._recall = _ratios(right, said), _ratios(right, came)

    @property
    def means(self) -> tuple[float, float]:
        """Precision and recall: means over the classes that came or were said, where one that was never said
        has a precision of 0 and one that never came a recall of 0."""
        precision, recall = (mean(np.nan_to_num(of)[self._seen]) for of in (self._precision, self._recall))
        return precision, recall

    @property
    def of_each(self) -> dict[str, float]:
        """`precision(NAME)` and `recall(NAME)` of each class."""
        precision = zip(self._names, self._precision.tolist(), strict=True)
        recall = zip(self._names, self._recall.tolist(), strict=True)
        found = {f"precision({name})": value for name, value in precision}
        return found | {f"recall({name})": value for name, value in recall}


def check_names(classes: tuple[str, ...]) -> int:
    """How many there are. Raises `ValueError` for too few, too many, and two of one name."""
    if not 1 < (k := len(classes)) <= MOST_CLASSES or len(set(classes)) < k:
        raise ValueError(f"{k} classes, or two of one name: there are 2 to {MOST_CLASSES}")
    return k


def counted(places: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    return np.bincount(places, minlength=count).astype(np.int64)


def mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan


def _ratios(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(parts, wholes, out=np.full(len(parts), math.nan), where=wholes > 0)
