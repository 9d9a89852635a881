"""Count, mean, deviation, smallest and largest of numbers, mergeable."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

LARGEST = 1e100
"""Of numbers that are judged: sums of squares of their differences are finite, so that something follows."""


class Moments(msgspec.Struct, frozen=True, array_like=True):
    """Of `count` finite numbers. `squares` is the sum of squared distances from the mean.

    Parts are merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances" (COMPSTAT 1982), which loses no digits where the mean is far from zero.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    zeros: int = 0

    @classmethod
    def of(cls, x: NDArray[np.float64]) -> Moments:
        """Of an array of finite numbers, of any length."""
        if not x.size:
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(x.mean())
            if not math.isfinite(mean):  # the sum was too large, which the mean is not
                mean = float((x / x.size).sum())
            squares = float(np.square(x - mean).sum())
        return cls(x.size, mean, squares, float(x.min()), float(x.max()), int(x.size - np.count_nonzero(x)))

    def merged(self, other: Moments) -> Moments:
        """Of both sets of numbers."""
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        apart = other.mean - self.mean
        share = other.count / count
        near = math.isfinite(apart)
        return Moments(
            count,
            self.mean + apart * share if near else self.mean * (1 - share) + other.mean * share,
            self.squares + other.squares + apart * apart * (self.count * (other.count / count)),
            min(self.least, other.least),
            max(self.most, other.most),
            self.zeros + other.zeros,
        )

    @property
    def variance(self) -> float:
        """Of the population: divided by the count. 0 where there is nothing."""
        return self.squares / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        return math.sqrt(self.variance)
