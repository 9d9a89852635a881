"""Where bins are cut, exact counts in them, and quantiles from counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from datasketches import kll_doubles_sketch
from numpy.typing import NDArray

BINS = 64
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
    """The q-quantile, by a straight line inside its bin; exact at an edge. NaN where nothing was counted.

    `least` and `most` are the outer ends of the first and the last bin.
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
    return low + (high - low) * part if math.isfinite(high - low) else low * (1 - part) + high * part


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
