"""The settings of `jobs/watch.py`."""

from __future__ import annotations

from typing import Literal, Self

import msgspec
from pydantic import Field, model_validator

from jobs.settings.gathering import Batching
from jobs.settings.run import Part
from jobs.settings.streams import Broker, StreamSettings, Transactions
from schemas.codecs.factory import CodecSpec
from udfs.features.events.progress import StreamTiming
from udfs.io.s3 import S3Options
from udfs.lifecycle.drift.anomalies import AnomalySettings
from udfs.lifecycle.drift.settings import DriftSettings
from udfs.lifecycle.watching.outlier_rules import OutlierRule
from udfs.lifecycle.watching.training_sets import TrainingPlaces
from udfs.lifecycle.watching.watched_quality import QualityLimits, QualitySpec
from udfs.lifecycle.watching.watched_series import JudgeSpec
from udfs.lifecycle.watching.window_counting import CountSpec

Of = Literal["records", "results"]
Watched = Literal["records", "results", "quality"]


class WatchKafka(Broker, Transactions):
    """Streams that are watched on Kafka, and what is said of them."""

    records: dict[str, str] = Field({}, description="topic of records -> data type of its records")
    data_type_header: str = Field("", description="name of a record header that holds the data type instead")
    results: tuple[str, ...] = Field(("results",), description="topics of results")
    quality: str = Field("quality", description="topic of quality, of jobs/outcomes.py")
    statistics: str = Field("statistics", description="topic of statistics of windows")
    alerts: str = Field("alerts", description="topic of alerts, as CloudEvents")
    dead_letters: str = Field("dead-letters", description="topic of messages about quality that are none")


class OutlierLimits(Part):
    """A rule for single records: what a number must lie in."""

    feature: str
    low: float | None = None
    high: float | None = None
    deviations: float | None = None

    def rule(self) -> OutlierRule:
        given = self.model_dump(exclude_none=True)
        return OutlierRule(**given)


class GoodQuality(Part):
    """What quality is still good."""

    baseline: float | None = Field(
        None, ge=0, lt=1, description="share of wrong predictions that is still good; empty: not watched"
    )
    error: float | None = Field(
        None, ge=0, description="of numbers: by how much a right prediction may be off"
    )
    patience: float = Field(10_000, gt=1, description="windows until a false alarm, at least, in expectation")

    def limits(self) -> QualityLimits | None:
        return None if self.baseline is None else QualityLimits(self.baseline, self.error, self.patience)


class WatchedType(Part):
    """What is known of one type of records."""

    training: str = Field(
        "",
        description="statistics of its training set, by `millrace profile`: a path or s3://BUCKET/KEY; of "
        "others a DatasetFeatureStatisticsList, whose name ends in .pb",
    )
    ignore: tuple[str, ...] = Field((), description="features that are not compared, such as the label")
    time_field: str = Field(
        "", description="the field that says when (epoch ms or ISO 8601); empty: the record's own time"
    )
    outliers: tuple[OutlierLimits, ...] = Field(
        (), description="rules for single records: feature, and low, high or deviations (of training)"
    )
    quality: GoodQuality = GoodQuality.model_validate({})


class DriftLimits(Part):
    """What is an alarm: see docs/lifecycle.md."""

    tolerance: dict[str, float] = Field(
        DriftSettings().tolerance,
        description="by distance, what is no alarm; a distance that is left out never is",
    )
    false_alarms: float = Field(
        DriftSettings().false_alarms,
        gt=0,
        lt=1,
        description="of a window without drift, over all features; with e-bh of all alarms",
    )
    correction: Literal["bonferroni", "e-bh"] = Field("bonferroni", description="over features")
    records: int = Field(20_000, ge=1, description="of a window, which the test is tuned for")

    def settings(self) -> DriftSettings:
        return DriftSettings(self.tolerance, self.false_alarms, self.correction, self.records)


class AnomalyLimits(Part):
    """From when on what is not a matter of chance is told of."""

    least: int = Field(1, ge=1, description="records of a window that show it")
    missing: float = Field(0.05, ge=0, le=1, description="share of missing values above the training set's")
    margin: float = Field(0.0, ge=0, description="how far out of the training range, as a share of it")

    def settings(self) -> AnomalySettings:
        return msgspec.convert(self.model_dump(), AnomalySettings)


class WatchSettings(StreamSettings):
    """Say what records and results look like, window by window, and when they change. Give kafka,
    folder, or both."""

    name: str = Field("millrace-watch", description="the job's name, and the source of its alerts")
    kafka: WatchKafka | None = None
    watch: tuple[Watched, ...] = Field(("results",), description="what is read: records, results, quality")
    with_fields: bool = Field(
        True, description="of results the record's fields are counted too, by model version"
    )
    codec: CodecSpec = Field(CodecSpec(), description="how records are encoded")
    data_types: dict[str, WatchedType] = Field({}, description="what is known of the types, by name")
    model_training: str = Field(
        "",
        description="statistics of a model version's training set, a path in which {data_type}, {model} and "
        "{version} are filled in; where there is nothing, those of the data type count",
    )
    window_seconds: float = Field(60, gt=0, description="of event time")
    out_of_orderness: str = Field("5 s", description="how much later than its successors a record may come")
    idle: str = Field("10 s", description="a partition that is silent for so long holds no window open")
    sample: float = Field(1.0, gt=0, le=1, description="the share of the records that is counted")
    most_fields: int = Field(
        1_000,
        ge=1,
        description="fields of a window, beyond those of the training set, that are counted one by one; the "
        "values of others are counted together",
    )
    early: bool = Field(True, description="look for drift before a window ends too")
    repeat_seconds: float = Field(0, ge=0, description="tell again of what lasts after so long; 0: never")
    flush_seconds: float = Field(1.0, gt=0, description="how often instances send what they have counted")
    training_seconds: float = Field(
        5.0, gt=0, description="how often files of training statistics are looked at"
    )
    drift: DriftLimits = Field(DriftLimits.model_validate({}))
    anomalies: AnomalyLimits = Field(AnomalyLimits.model_validate({}))
    s3: S3Options = S3Options()
    batch: Batching = Field(
        Batching.model_validate({"max_records": 8192, "min_ms": 200}),
        description="when a micro-batch is closed",
    )

    @model_validator(mode="after")
    def _streams(self) -> Self:
        if self.kafka is not None:
            self.kafka.check_own(self.name, type(self).model_fields["name"].default)
        if not self.watch:
            raise ValueError("watch is empty: name records, results or quality")
        if self.kafka is not None and self.reads_kafka and "records" in self.watch and not self.kafka.records:
            raise ValueError("records are to be watched: name topics and their data types in kafka.records")
        if "quality" in self.watch and not self.quality().limits:
            raise ValueError("quality is to be watched: give data_types.TYPE.quality.baseline")
        if self.window_ms < 1:
            raise ValueError("window_seconds must be a millisecond at least")
        return self

    @property
    def window_ms(self) -> int:
        return int(self.window_seconds * 1000)

    def places(self) -> TrainingPlaces:
        return TrainingPlaces(
            {name: one.training for name, one in self.data_types.items() if one.training},
            self.model_training,
            {name: one.ignore for name, one in self.data_types.items() if one.ignore},
        )

    @property
    def streams(self) -> tuple[Of, ...]:
        """Of what is watched, the streams of records."""
        return tuple(of for of in dict.fromkeys(self.watch) if of != "quality")

    def quality(self) -> QualitySpec:
        found = {name: one.quality.limits() for name, one in self.data_types.items()}
        limits = {name: one for name, one in found.items() if one is not None}
        return QualitySpec(self.name, limits, int(self.repeat_seconds * 1000))

    def counting(self, of: Of, partitions: int | None) -> CountSpec:
        """`partitions`: those that one instance has to hear of, where that is known."""
        types = self.data_types.items()
        return CountSpec(
            of=of,
            window_ms=self.window_ms,
            codec=self.codec,
            with_fields=self.with_fields,
            timing=StreamTiming(self.out_of_orderness, self.idle),
            partitions=partitions,
            by_source=self.kafka is not None,
            time_fields={name: one.time_field for name, one in types if one.time_field},
            rules={name: tuple(rule.rule() for rule in one.outliers) for name, one in types if one.outliers},
            places=self.places(),
            s3=self.s3,
            again_ms=int(self.training_seconds * 1000),
            flush_ms=max(int(self.flush_seconds * 1000), 1),
            most_fields=self.most_fields,
        )

    def judging(self, of: Of) -> JudgeSpec:
        return JudgeSpec(
            name=self.name,
            of=of,
            window_ms=self.window_ms,
            drift=self.drift.settings(),
            anomalies=self.anomalies.settings(),
            early=self.early,
            repeat_ms=int(self.repeat_seconds * 1000),
            sample=self.sample,
            with_fields=self.with_fields,
            places=self.places(),
            s3=self.s3,
            again_ms=int(self.training_seconds * 1000),
        )
