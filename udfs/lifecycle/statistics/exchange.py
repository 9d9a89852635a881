"""To and from `DatasetFeatureStatisticsList` of tensorflow-metadata, which others' viewers read.

The format has no place for the sketch of distinct numbers: the estimate travels as a custom statistic, and
what comes back gives statistics to compare with, not to go on counting distinct values with.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from schemas.errors import SettingsError, StatisticsError
from udfs.lifecycle.statistics.bins import Bins
from udfs.lifecycle.statistics.feature import FeatureStatistics
from udfs.lifecycle.statistics.frequent import Frequent
from udfs.lifecycle.statistics.moments import Moments
from udfs.lifecycle.statistics.table import TableStatistics

TOP = 20
_BINS = "millrace.bins"


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
        textual = feature.texts + feature.flags > feature.numbers.count + feature.infinite
        if textual:
            one.type = pb.FeatureNameStatistics.STRING
            _common(one.string_stats.common_stats, feature, feature.texts + feature.flags)
            _texts(one.string_stats, feature)
        else:
            one.type = pb.FeatureNameStatistics.FLOAT if feature.fractions else pb.FeatureNameStatistics.INT
            _common(one.num_stats.common_stats, feature, feature.numbers.count + feature.infinite)
            _numbers(pb, one.num_stats, feature)
        one.custom_stats.add(name="millrace.distinct", num=feature.distinct())
    return result


def from_proto(message: Any) -> TableStatistics:
    """The first data set of a `DatasetFeatureStatisticsList`, whoever made it.

    Bins are those of a histogram by quantiles, else of the first one. Raises `StatisticsError` for none.
    """
    if not message.datasets:
        raise StatisticsError("the list of statistics has no data set")
    data = message.datasets[0]
    table = TableStatistics(rows=int(data.num_examples))
    for one in data.features:
        title = one.name or ".".join(one.path.step)
        kind = one.WhichOneof("stats")
        if kind == "num_stats":
            table.features[title] = _read_numbers(one.num_stats, table.rows)
        elif kind == "string_stats":
            table.features[title] = _read_texts(one.string_stats, table.rows)
    return table


def _common(common: Any, feature: FeatureStatistics, present: int) -> None:
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
    histogram = stats.histograms.add(type=pb.Histogram.QUANTILES, name=_BINS)
    ends = [found.least, *feature.bins.edges, found.most]
    for low, high, count in zip(ends, ends[1:], feature.number_counts.tolist(), strict=False):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=count)


def _texts(stats: Any, feature: FeatureStatistics) -> None:
    stats.unique = round(feature.distinct())
    stats.avg_length = feature.text_lengths.mean
    for text, count in feature.frequent.top(TOP):
        stats.top_values.add(value=text, frequency=count)
    counted = zip(feature.bins.categories, feature.text_counts.tolist(), strict=False)
    for rank, (text, count) in enumerate(counted):
        stats.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=text, sample_count=count)


def _read_numbers(stats: Any, rows: int) -> FeatureStatistics:
    quantiles = [h for h in stats.histograms if h.type == 1] or list(stats.histograms)
    buckets = list(quantiles[0].buckets) if quantiles else []
    feature = FeatureStatistics.counted_in(Bins(tuple(b.high_value for b in buckets[:-1])))
    if buckets:
        feature.number_counts = np.array([round(b.sample_count) for b in buckets], np.int64)
    count = int(stats.common_stats.num_non_missing)
    squares = stats.std_dev**2 * count
    feature.rows, feature.nulls = rows, int(stats.common_stats.num_missing)
    ends = (stats.min, stats.max) if count else (math.inf, -math.inf)
    feature.numbers = Moments(count, stats.mean, squares, ends[0], ends[1], int(stats.num_zeros))
    return feature


def _read_texts(stats: Any, rows: int) -> FeatureStatistics:
    counted = [(b.label, round(b.sample_count)) for b in stats.rank_histogram.buckets]
    feature = FeatureStatistics.counted_in(Bins((), tuple(text for text, _ in counted)))
    count = int(stats.common_stats.num_non_missing)
    feature.rows, feature.nulls, feature.texts = rows, int(stats.common_stats.num_missing), count
    shares = [n for _, n in counted]
    feature.text_counts = np.array([*shares, max(count - sum(shares), 0)], np.int64)
    feature.text_lengths = Moments(count, stats.avg_length)
    feature.frequent = Frequent({v.value: round(v.frequency) for v in stats.top_values})
    return feature
