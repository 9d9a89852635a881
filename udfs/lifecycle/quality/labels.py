"""Sums of a classifier that answers a label and no probabilities: what it said, and what came."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from udfs.lifecycle.quality.class_figures import Confusion, Tabled, check_names, counted, figures_of_counts
from udfs.lifecycle.quality.exact_sums import Rest, merge_into


class LabelSums(Tabled, msgspec.Struct):
    """`classes`: their names, K of them. `confusion`: counts by class said and class that came, shape (K, K),
    in their order. `unscored`: results without one of these labels, which are not among the `predictions`.
    `rests`: as of other kinds; none of these sums has one."""

    TERMS: ClassVar[tuple[str, ...]] = ("classes",)
    COUNTS: ClassVar[tuple[str, ...]] = ("predictions", "unscored", "confusion")
    EXACT: ClassVar[tuple[str, ...]] = ()
    classes: tuple[str, ...] = ()
    predictions: int = 0
    unscored: int = 0
    confusion: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(0, np.int64))
    rests: dict[str, Rest] = {}

    def __post_init__(self) -> None:
        k = check_names(self.classes)
        found = self.confusion
        self.confusion = found.reshape(k, k) if found.size else np.zeros((k, k), np.int64)

    def add(self, said: NDArray[np.float64], outcomes: NDArray[np.float64], without_outcome: int = 0) -> None:
        """Places of the classes that were said and that came, both (n,), and how many predictions got no
        outcome."""
        k = len(self.classes)
        places = said.astype(np.intp) * k + outcomes.astype(np.intp)
        self.predictions += len(said) + without_outcome
        self.confusion += counted(places, k * k).reshape(k, k)

    def merge(self, other: LabelSums, sign: int = 1) -> None:
        """Take in other sums, or with -1 out of these. Raises `StatisticsError` for other classes."""
        merge_into(self, other, sign)

    def figures(self) -> dict[str, float]:
        """As `figures_of_counts`, with precision and recall as of `Confusion`, and those of each class."""
        table = Confusion(self.confusion, self.classes)
        return figures_of_counts(self, *table.means) | table.of_each
