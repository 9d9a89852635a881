"""To and from `DatasetFeatureStatisticsList` of tensorflow-metadata, which others' viewers read.

A feature has one type there, that of most of its values; all its values are among those that are not missing.
What its other values are, and what else viewers have no place for, are custom statistics: counts by kind, and
the bins of the rarer kind. What comes back gives statistics to compare with, not to go on counting with. Lost
are: the sketch of distinct values (the estimate stays), frequent texts after the first `TOP`, the deviation
of text lengths, bins of what was never counted, and the values' own sketches of whoever else made them.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from schemas.errors import SettingsError, StatisticsError
from udfs.lifecycle.statistics.bins import Bins
from udfs.lifecycle.statistics.feature import FeatureStatistics
from udfs.lifecycle.statistics.frequent import LONGEST_TEXT, Frequent
from udfs.lifecycle.statistics.moments import Moments
from udfs.lifecycle.statistics.table import TableStatistics

TOP = 20
MOST_BINS = 1024
"""Of others' files, as of `millrace profile`: more categories count as one, more bins of numbers are refused.
"""
_BINS = "millrace.bins"
_NUMBERS, _TEXTS = "millrace.numbers", "millrace.texts"
_MEAN, _DEVIATION = "millrace.mean", "millrace.deviation"
_COUNT = "millrace.count."
_KINDS = ("absent", "nested", "flags", "texts", "infinite", "fractions")
_MOST_COUNT = 1 << 62


def messages() -> Any:
    """The generated module. Raises `SettingsError` where tensorflow-metadata is not installed."""
    try:
        from tensorflow_metadata.proto.v0 import statistics_pb2  # noqa: PLC0415
    except ImportError as e:
        raise SettingsError(
            f"tensorflow-metadata cannot be imported ({e}): pip install 'millrace[tensorflow-metadata]'"
        ) from e
    return statistics_pb2


def to_proto(table: TableStatistics, name: str = "") -> Any:
    """A `DatasetFeatureStatisticsList` with one data set."""
    pb = messages()
    result = pb.DatasetFeatureStatisticsList()
    data = result.datasets.add(name=name, num_examples=table.rows)
    for title, feature in table.features.items():
        one = data.features.add()
        one.path.step.append(title)
        numbers, texts = feature.numbers.count + feature.infinite, feature.texts + feature.flags
        if feature.nested > max(numbers, texts):
            one.type = pb.FeatureNameStatistics.STRUCT
            _common(one.struct_stats.common_stats, feature)
        elif texts > numbers or (texts == numbers and feature.bins.categories):
            one.type = pb.FeatureNameStatistics.STRING
            _common(one.string_stats.common_stats, feature)
            _texts(one.string_stats, feature)
        else:
            one.type = pb.FeatureNameStatistics.FLOAT if feature.fractions else pb.FeatureNameStatistics.INT
            _common(one.num_stats.common_stats, feature)
            _numbers(pb, one.num_stats, feature)
        one.custom_stats.add(name="millrace.distinct", num=feature.distinct())
        for kind in _KINDS:
            if count := getattr(feature, kind):
                one.custom_stats.add(name=_COUNT + kind, num=count)
        if one.WhichOneof("stats") != "num_stats" and feature.numbers.count:
            _buckets(one.custom_stats.add(name=_NUMBERS).histogram, feature)
            one.custom_stats.add(name=_MEAN, num=feature.numbers.mean)
            one.custom_stats.add(name=_DEVIATION, num=feature.numbers.deviation)
        if one.WhichOneof("stats") != "string_stats" and (texts or feature.bins.categories):
            _ranks(one.custom_stats.add(name=_TEXTS).rank_histogram, feature)
    return result


def read_proto(data: bytes) -> TableStatistics:
    """The bytes of a `DatasetFeatureStatisticsList`, as `from_proto`. Raises `StatisticsError` for others,
    and `SettingsError` where tensorflow-metadata is not installed."""
    message = messages().DatasetFeatureStatisticsList()
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    try:
        message.ParseFromString(data)
    except DecodeError as e:
        raise StatisticsError(f"these are no DatasetFeatureStatisticsList: {e}") from None
    return from_proto(message)


def from_proto(message: Any) -> TableStatistics:
    """The first data set of a `DatasetFeatureStatisticsList`, whoever made it.

    Bins are those of a histogram by quantiles, else of the first one; texts are counted by the values of the
    rank histogram. What has several values a record counts as a list. Raises `StatisticsError` for none, and
    for numbers that are none of statistics.
    """
    if not message.datasets:
        raise StatisticsError("the list of statistics has no data set")
    data = message.datasets[0]
    table = TableStatistics(rows=int(data.num_examples))
    for one in data.features:
        title = one.name or ".".join(one.path.step)
        if one.WhichOneof("stats") is not None:
            try:
                table.features[title] = _read(one)
            except (ValueError, OverflowError) as e:
                raise StatisticsError(f"the statistics of {title!r} are none: {e}") from None
    return table


def _common(common: Any, feature: FeatureStatistics) -> None:
    present = feature.rows - feature.missing
    common.num_non_missing, common.num_missing = present, feature.missing
    if present:
        common.min_num_values = common.max_num_values = 1
        common.avg_num_values, common.tot_num_values = 1.0, present


def _numbers(pb: Any, stats: Any, feature: FeatureStatistics) -> None:
    found = feature.numbers
    if not found.count:
        return
    stats.mean, stats.std_dev, stats.num_zeros = found.mean, found.deviation, found.zeros
    stats.min, stats.median, stats.max = found.least, feature.quantile(0.5), found.most
    _buckets(stats.histograms.add(type=pb.Histogram.QUANTILES, name=_BINS), feature)


def _buckets(histogram: Any, feature: FeatureStatistics) -> None:
    edges, found = feature.bins.edges, feature.numbers
    # a window's numbers may all lie beyond an edge
    ends = [min([found.least, *edges]), *edges, max([found.most, *edges])]
    for (low, high), count in zip(pairwise(ends), feature.number_counts.tolist(), strict=True):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=count)


def _texts(stats: Any, feature: FeatureStatistics) -> None:
    stats.unique = round(feature.distinct())
    stats.avg_length = feature.text_lengths.mean
    for text, count in feature.frequent.top(TOP):
        stats.top_values.add(value=text, frequency=count)
    _ranks(stats.rank_histogram, feature)


def _ranks(histogram: Any, feature: FeatureStatistics) -> None:
    counted = zip(feature.bins.categories, feature.text_counts.tolist(), strict=False)
    for rank, (text, count) in enumerate(counted):
        histogram.buckets.add(low_rank=rank, high_rank=rank, label=text, sample_count=count)


def _read(one: Any) -> FeatureStatistics:
    """Of other kinds than the feature's there is what `to_proto` says; of others' files nothing."""
    kind, own = one.WhichOneof("stats"), {c.name: c for c in one.custom_stats}
    stats = getattr(one, kind)
    common, told = stats.common_stats, {n: _count(own[_COUNT + n].num) for n in _KINDS if _COUNT + n in own}
    present, missing = _count(common.num_non_missing), _count(common.num_missing)
    if kind == "struct_stats" or common.max_num_values > 1:
        told.setdefault("nested", present)
        kind = "lists or objects"
    edges, number_counts = _bins(_histogram(stats) if kind == "num_stats" else own.get(_NUMBERS))
    categories = _categories(stats if kind == "string_stats" else own.get(_TEXTS))
    elsewhere = told.get("nested", 0) + told.get("flags", 0)
    if kind == "num_stats":
        numbers = max(present - elsewhere - told.get("texts", 0), 0)
    else:
        numbers = sum(number_counts)
        if kind in ("string_stats", "bytes_stats"):
            told.setdefault("texts", max(present - elsewhere - numbers, 0))
    feature = FeatureStatistics.counted_in(Bins(edges, tuple(categories)))
    for name, count in told.items():
        setattr(feature, name, count)
    feature.rows, feature.nulls = present + missing, max(missing - feature.absent, 0)
    count = max(numbers - feature.infinite, 0)
    if number_counts:
        feature.number_counts = np.array(number_counts, np.int64)
    if kind == "num_stats":
        feature.numbers = _moments(count, stats.mean, stats.std_dev, (stats.min, stats.max), stats.num_zeros)
    elif count:
        buckets = own[_NUMBERS].histogram.buckets
        mean, deviation = (own[name].num if name in own else 0.0 for name in (_MEAN, _DEVIATION))
        feature.numbers = _moments(count, mean, deviation, (buckets[0].low_value, buckets[-1].high_value))
    if kind == "string_stats":
        feature.text_lengths = Moments(feature.texts, stats.avg_length)
        feature.frequent = Frequent({v.value: _count(v.frequency) for v in stats.top_values})
    others = feature.texts + feature.flags - sum(categories.values())
    feature.text_counts = np.array([*categories.values(), max(others, 0)], np.int64)
    return feature


def _count(number: float) -> int:
    if not 0 <= number < _MOST_COUNT:
        raise ValueError(f"{number} is no count")
    return round(number)


def _histogram(stats: Any) -> Any:
    """The one with bins for quantiles, else the first; None where there is none."""
    return next((h for h in stats.histograms if h.type == 1), next(iter(stats.histograms), None))


def _bins(of: Any) -> tuple[tuple[float, ...], list[int]]:
    """The edges and counts of a histogram, or of the statistic that has one. Bins that end alike are one."""
    highs, counts = list[float](), list[int]()
    for bucket in [] if of is None else getattr(of, "histogram", of).buckets:
        if highs and not bucket.high_value >= highs[-1]:
            raise ValueError(f"a bin that ends at {bucket.high_value} follows one that ends at {highs[-1]}")
        if highs and bucket.high_value == highs[-1]:
            counts[-1] += _count(bucket.sample_count)
            continue
        highs.append(bucket.high_value)
        counts.append(_count(bucket.sample_count))
    if len(counts) > MOST_BINS:
        raise ValueError(f"there are {len(counts)} bins; {MOST_BINS} are the most")
    if not all(map(math.isfinite, highs[:-1])):
        raise ValueError("there is a bin between others that ends at no number")
    return tuple(highs[:-1]), counts


def _categories(of: Any) -> dict[str, int]:
    """Texts with their counts: all that were ranked, else the most frequent ones."""
    if of is None:
        return {}
    ranked = [(bucket.label, bucket.sample_count) for bucket in of.rank_histogram.buckets]
    found: dict[str, int] = {}
    for text, count in ranked or [(v.value, v.frequency) for v in getattr(of, "top_values", ())]:
        if (kept := text[:LONGEST_TEXT]) in found or len(found) < MOST_BINS - 1:
            found[kept] = found.get(kept, 0) + _count(count)
    return found


def _moments(
    count: int, mean: float, deviation: float, ends: tuple[float, float], zeros: float = 0
) -> Moments:
    """What is not finite, as others write it of columns with infinite numbers, says nothing."""
    if not count:
        return Moments()
    known = math.isfinite(mean) and math.isfinite(deviation)
    squares = deviation**2 * count if known else math.inf
    least, most = (
        end if math.isfinite(end) else way for end, way in zip(ends, (-math.inf, math.inf), strict=True)
    )
    return Moments(count, mean if known else 0.0, squares, least, most, _count(zeros))
