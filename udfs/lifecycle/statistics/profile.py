"""Statistics of a training set, in bins that are cut at its own quantiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from udfs.lifecycle.statistics.bins import BINS, Bins, Cutter
from udfs.lifecycle.statistics.frequent import Frequent
from udfs.lifecycle.statistics.table import TableStatistics, columns_of

Records = Sequence[Mapping[str, Any]]


def profile(batches: Callable[[], Iterable[Records]], bins: int = BINS) -> TableStatistics:
    """Read the batches twice: first to cut the bins, then to count as a stream is counted.

    `batches` gives the same records each time. Texts are counted by the `bins - 1` most frequent ones.
    """
    return count(batches(), cut(batches(), bins))


def cut(batches: Iterable[Records], bins: int = BINS) -> dict[str, Bins]:
    """Bins by feature: at the quantiles of its numbers, and of its most frequent texts."""
    cutters: dict[str, Cutter] = {}
    frequent: dict[str, Frequent] = {}
    for records in batches:
        for name, values in columns_of(records).items():
            x = np.array([v for v in values if type(v) in (float, int)], np.float64)
            cutters.setdefault(name, Cutter()).add(x[np.isfinite(x)])
            texts = frequent.setdefault(name, Frequent())
            texts.add(Counter(_text(v) for v in values if isinstance(v, str | bool)))
    return {
        name: Bins(cutter.edges(bins), tuple(text for text, _ in frequent[name].top(bins - 1)))
        for name, cutter in cutters.items()
    }


def count(batches: Iterable[Records], bins: Mapping[str, Bins]) -> TableStatistics:
    table = TableStatistics.counted_in(bins)
    for records in batches:
        table.add(records)
    return table


def _text(value: str | bool) -> str:
    return value if isinstance(value, str) else "true" if value else "false"
