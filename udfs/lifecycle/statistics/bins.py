"""Where bins are cut, exact counts in them, and quantiles from counts."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import msgspec
import numpy as np
from datasketches import kll_doubles_sketch
from numpy.typing import NDArray

BINS = 64
_HIGHEST = math.log(sys.float_info.max)
EXACT_UP_TO = 100_000
"""Numbers that are kept as they are until edges are cut; of more, a KLL sketch with a rank error of 0.2 %."""


class Bins(msgspec.Struct, frozen=True, array_like=True):
    """How a feature's values are counted: numbers by `edges` (rising), texts by `categories`.

    Number bin k holds what is above edge k-1 and at most edge k: `len(edges) + 1` bins. Text bin k holds
    category k, the last one all others. Flags are the texts "true" and "false".
    """

    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()


def count_numbers(x: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts of shape `(len(edges) + 1,)`; infinities fall into the outer bins."""
    return np.bincount(np.searchsorted(edges, x, side="left"), minlength=len(edges) + 1).astype(np.int64)


def quantile(q: float, edges: Sequence[float], counts: NDArray[np.int64], least: float, most: float) -> float:
    """The q-quantile; exact at an edge. NaN where nothing was counted.

    `least` and `most` are the outer ends of the first and the last bin. Inside a bin numbers lie on a
    straight line, but for an outer one with a quarter of them at most: that is a tail, see `_in_tail`.
    """
    total = int(counts.sum())
    if not total:
        return float("nan")
    ends = np.clip(np.array([least, *edges, most]), least, most)
    below = np.concatenate([[0], np.cumsum(counts)])
    k = int(np.searchsorted(below[1:], q * total, side="left"))
    k = min(k, len(counts) - 1)
    inside = (q * total - below[k]) / counts[k] if counts[k] else 0.0
    low, high, part = float(ends[k]), float(ends[k + 1]), min(max(float(inside), 0.0), 1.0)
    if len(edges) and k in (0, len(counts) - 1) and 0 < 4 * counts[k] <= total:
        if k == 0:
            return _in_tail(high, low, 1 - part, int(counts[k]))
        return _in_tail(low, high, part, int(counts[k]))
    return low + (high - low) * part if math.isfinite(high - low) else low * (1 - part) + high * part


def _in_tail(near: float, far: float, part: float, count: int) -> float:
    """Where in a tail of `count` numbers, from the edge `near` to the last of them, this part of them lies.

    Exponential, of the distance from the edge, or of its logarithm where all have one sign (a power law): the
    last of n such numbers lies in expectation 1 + 1/2 + ... + 1/n scales from the edge. On a straight line
    the 0.99-quantile of a lognormal feature would be a hundred times what it is.
    """
    if part >= 1:
        return far
    scales = math.log(count) + np.euler_gamma + 1 / (2 * count)
    way = min(-math.log1p(-part) / scales, 1.0)
    if min(near, far) > 0 or max(near, far) < 0:
        size = math.log(abs(near)) * (1 - way) + math.log(abs(far)) * way
        found = math.copysign(math.exp(min(size, _HIGHEST)), near)
    else:
        found = near * (1 - way) + far * way
    return min(max(found, min(near, far)), max(near, far))


class Cutter:
    """Gathers a training feature's numbers, to cut bins at their quantiles."""

    def __init__(self) -> None:
        self._kept: list[NDArray[np.float64]] = []
        self._count = 0
        self._sketch: kll_doubles_sketch | None = None

    def add(self, x: NDArray[np.float64]) -> None:
        """Finite numbers."""
        if self._sketch is not None:
            self._sketch.update(x)
            return
        self._kept.append(x)
        self._count += x.size
        if self._count > EXACT_UP_TO:
            self._sketch = kll_doubles_sketch(1024)
            for part in self._kept:
                self._sketch.update(part)
            self._kept = []

    def edges(self, bins: int = BINS) -> tuple[float, ...]:
        """At most `bins - 1` rising edges; fewer where values repeat, none where there are no numbers."""
        ranks = np.arange(1, bins) / bins
        if self._sketch is not None:
            found = np.array(self._sketch.get_quantiles(ranks.tolist(), True))
        elif self._count:
            found = np.quantile(np.concatenate(self._kept), ranks, method="inverted_cdf")
        else:
            return ()
        return tuple(np.unique(found).tolist())
