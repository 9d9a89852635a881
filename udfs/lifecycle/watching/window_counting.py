"""Micro-batches of one instance as partial sums by series and window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.codecs.base import Codec
from schemas.codecs.factory import CodecSpec
from schemas.micro_batch import MicroBatch
from udfs.features.events.progress import Progress, StreamTiming
from udfs.io.record_codecs import open_codec
from udfs.io.s3 import S3Options
from udfs.lifecycle.drift.alerts import Outlier
from udfs.lifecycle.statistics.table import TableStatistics
from udfs.lifecycle.watching.outlier_rules import OutlierRule, breaking
from udfs.lifecycle.watching.places import reader
from udfs.lifecycle.watching.series import UNTIMED, PartialWindow, Series
from udfs.lifecycle.watching.training_sets import TrainingPlaces, TrainingSet, TrainingSets
from udfs.lifecycle.watching.watched_records import Watched, watched_records, watched_results

SHOWN = 10
"""Outliers of a rule that a partial sum shows; all of them are counted."""
FUTURE_MS = 3_600_000
"""A record that says it is of later than that from now has no time: it would close all windows before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSpec:
    """`of`: what is read. `partitions`: how many an instance must have heard of before there is a watermark;
    None: that is not known, and `timing.idle` counts. `by_source`: partitions of each topic are told apart.

    `time_fields` and `rules` are by data type. `most_fields`: of a window, those beyond the training set's
    that are counted one by one.
    """

    of: Literal["records", "results"]
    window_ms: int
    codec: CodecSpec = field(default_factory=CodecSpec)
    with_fields: bool = True
    timing: StreamTiming = field(default_factory=StreamTiming)
    partitions: int | None = None
    by_source: bool = True
    time_fields: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, tuple[OutlierRule, ...]] = field(default_factory=dict)
    places: TrainingPlaces = field(default_factory=TrainingPlaces)
    s3: S3Options = field(default_factory=S3Options)
    again_ms: int = 5_000
    flush_ms: int = 1_000
    flush_bytes: int = 16 << 20
    most_fields: int = 1_000

    def progress(self) -> Progress:
        return Progress(self.timing, self.partitions)

    def training_sets(self) -> TrainingSets:
        return TrainingSets(self.places, reader(self.s3), self.again_ms, self.with_fields)

    def counting(self, training: TrainingSets) -> WindowCounting:
        plain = self.of == "results" or self.codec.raw_json
        return WindowCounting(self, training, None if plain else open_codec(self.codec))


class WindowCounting:
    """Counts in the bins of the training sets, as `millrace profile` does."""

    def __init__(self, spec: CountSpec, training: TrainingSets, codec: Codec | None) -> None:
        self._spec, self._training, self._codec = spec, training, codec
        self._open: dict[tuple[Series, int], PartialWindow] = {}

    def __len__(self) -> int:
        """Partial sums."""
        return len(self._open)

    def add(self, batch: MicroBatch, now: int) -> dict[Any, int | None]:
        """Count the records; partition -> the greatest time that has come, of those that could be read.

        `now`: the clock in ms, for files that change and for times that cannot be.
        """
        groups: dict[tuple[str, str, int, int], list[Watched]] = defaultdict(list)
        newest: dict[Any, int | None] = {}
        for one in self._watched(batch):
            partition: Any = batch.partitions[one.row]
            if self._spec.by_source:
                partition = (batch.source, partition)
            newest.setdefault(partition, None)
            time = None if one.time is None or one.time > now + FUTURE_MS else one.time
            if time is not None and one.fields is not None:
                newest[partition] = max(time, newest[partition] or 0)
            start = UNTIMED if time is None else time - time % self._spec.window_ms
            groups[one.data_type, one.model, one.version, start].append(one)
        for (data_type, model, version, start), some in groups.items():
            found = self._training.of(data_type, model, version, now)
            series = Series(data_type, model, version, found.digest if found is not None else "")
            self._count(series, found, start, some, batch)
        return newest

    def take(self) -> list[tuple[Series, PartialWindow]]:
        """What was counted since the last call."""
        taken = [(series, partial) for (series, _), partial in self._open.items()]
        self._open = {}
        return taken

    def _watched(self, batch: MicroBatch) -> Iterator[Watched]:
        if self._spec.of == "results":
            return watched_results(batch, self._spec.with_fields, self._spec.time_fields)
        return watched_records(batch, self._codec, self._spec.time_fields)

    def _count(
        self, series: Series, training: TrainingSet | None, start: int, some: list[Watched], batch: MicroBatch
    ) -> None:
        partial = self._open.get((series, start))
        if partial is None:
            bins = training.bins if training is not None else {}
            table = TableStatistics.counted_in(bins, self._spec.most_fields)
            partial = self._open[series, start] = PartialWindow(start=start, statistics=table)
        readable = [one for one in some if one.fields is not None]
        records = [one.fields for one in readable if one.fields is not None]
        partial.unreadable += len(some) - len(readable)
        if records:
            partial.statistics.add(records)
        for rule in self._spec.rules.get(series.data_type, ()):
            limits = rule.bounds(training.table if training is not None else None)
            if not (broken := breaking(records, rule.feature, limits)):
                continue
            shown = sum(one.rule == rule.name for one in partial.outliers)
            partial.broken = partial.broken | {rule.name: partial.broken.get(rule.name, 0) + len(broken)}
            partial.outliers = partial.outliers + [
                Outlier(
                    rule.name,
                    rule.feature,
                    repr(value),
                    batch.source,
                    batch.partitions[readable[at].row],
                    batch.offsets[readable[at].row],
                )
                for at, value in broken[: max(SHOWN - shown, 0)]
            ]
