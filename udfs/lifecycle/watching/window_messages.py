"""Statistics as the messages that tell of a window, and back."""

from __future__ import annotations

import base64
import sys
import zlib
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from schemas.errors import StatisticsError
from schemas.lifecycle.window_statistics import FeatureSums, NumberSums, WindowStatistics
from udfs.lifecycle.statistics.bins import Bins
from udfs.lifecycle.statistics.distinct import REGISTERS
from udfs.lifecycle.statistics.feature import FeatureStatistics
from udfs.lifecycle.statistics.frequent import Frequent
from udfs.lifecycle.statistics.moments import Moments
from udfs.lifecycle.statistics.table import TableStatistics

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
LIMIT = 900_000
"""Bytes of features in one message, which leaves room for the rest."""
_MOST = sys.float_info.max  # JSON has no infinity


def messages(window: WindowStatistics, table: TableStatistics) -> Iterator[WindowStatistics]:
    """The window's statistics, in as many messages as their size asks for. `window` has no features yet."""
    parts: list[dict[str, FeatureSums]] = [{}]
    size = 0
    for name, feature in table.features.items():
        sums = _sums(feature)
        length = len(msgspec.json.encode(sums)) + len(name.encode()) + 8
        if parts[-1] and size + length > LIMIT:
            parts.append({})
            size = 0
        parts[-1][name] = sums
        size += length
    for number, features in enumerate(parts):
        yield msgspec.structs.replace(window, features=features, part=number, parts=len(parts))


def added_up(windows: Iterable[WindowStatistics]) -> TableStatistics:
    """The statistics of all these messages together, of one window or more.

    A window that was told of twice, as after a failure, counts once, as it was told of last. Raises
    `StatisticsError` where windows were counted in different bins, or messages of one are missing.
    """
    told: dict[tuple[object, ...], dict[int, dict[int, WindowStatistics]]] = {}
    for one in windows:
        same = (one.of, one.data_type, one.model, one.version, one.start, one.training, one.late)
        own = told.setdefault((*same, (one.at, one.addition) if one.late else 0), {})
        own.setdefault(one.at, {})[one.part] = one
    total: TableStatistics | None = None
    for times in told.values():
        parts = times[max(times)]
        first = next(iter(parts.values()))
        if missing := first.parts - len(parts):
            raise StatisticsError(
                f"the window of {first.data_type} that starts at {first.start} lacks {missing} of its "
                f"{first.parts} messages"
            )
        features = {name: _statistics(sums) for one in parts.values() for name, sums in one.features.items()}
        table = TableStatistics(features, first.rows, first.others)
        if total is None:
            total = table
        else:
            total.merge(table)
    return total if total is not None else TableStatistics()


def _sums(feature: FeatureStatistics) -> FeatureSums:
    numbers = feature.numbers.count + feature.infinite
    quantiles = tuple(feature.quantile(q) for q in QUANTILES) if feature.numbers.count else ()
    return FeatureSums(
        rows=feature.rows,
        absent=feature.absent,
        nulls=feature.nulls,
        nested=feature.nested,
        flags=feature.flags,
        texts=feature.texts,
        infinite=feature.infinite,
        fractions=feature.fractions,
        numbers=_numbers(feature.numbers),
        text_lengths=_numbers(feature.text_lengths),
        median=quantiles[3] if quantiles else None,
        quantiles=quantiles,
        distinct=round(feature.distinct(), 1),
        edges=feature.bins.edges,
        number_counts=tuple(feature.number_counts.tolist()) if numbers else (),
        categories=feature.bins.categories,
        category_counts=tuple(feature.text_counts.tolist()) if feature.texts + feature.flags else (),
        frequent=tuple(feature.frequent.top(len(feature.frequent.counts))),
        frequent_error=feature.frequent.error,
        registers=base64.b64encode(zlib.compress(feature.registers.tobytes(), 1)).decode(),
    )


def _numbers(found: Moments) -> NumberSums:
    if not found.count:
        return NumberSums()
    return NumberSums(
        count=found.count,
        mean=found.mean,
        squares=min(found.squares, _MOST),
        deviation=min(found.deviation, _MOST),
        min=found.least,
        max=found.most,
        zeros=found.zeros,
    )


def _statistics(sums: FeatureSums) -> FeatureStatistics:
    feature = FeatureStatistics.counted_in(Bins(sums.edges, sums.categories))
    for name in ("rows", "absent", "nulls", "nested", "flags", "texts", "infinite", "fractions"):
        setattr(feature, name, getattr(sums, name))
    feature.numbers, feature.text_lengths = _moments(sums.numbers), _moments(sums.text_lengths)
    if sums.number_counts:
        feature.number_counts = np.array(sums.number_counts, np.int64)
    if sums.category_counts:
        feature.text_counts = np.array(sums.category_counts, np.int64)
    feature.frequent = Frequent(dict(sums.frequent), sums.frequent_error)
    if sums.registers:
        try:
            registers = zlib.decompressobj().decompress(base64.b64decode(sums.registers), REGISTERS + 1)
        except (ValueError, zlib.error) as e:
            raise StatisticsError(f"the registers of distinct values cannot be read: {e}") from None
        if len(registers) != REGISTERS:
            raise StatisticsError(f"there are {len(registers)} registers of distinct values, not {REGISTERS}")
        feature.registers = np.frombuffer(registers, np.uint8).copy()
    return feature


def _moments(sums: NumberSums) -> Moments:
    if not sums.count or sums.min is None or sums.max is None:
        return Moments()
    return Moments(sums.count, sums.mean, sums.squares, sums.min, sums.max, sums.zeros)
