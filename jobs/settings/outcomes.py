"""The settings of `jobs/outcomes.py`."""

from __future__ import annotations

import re
from typing import ClassVar, Literal, Self

from pydantic import Field, StrictBool, StrictInt, StrictStr, model_validator

from jobs.settings.features import History
from jobs.settings.gathering import Batching
from jobs.settings.run import Part
from jobs.settings.streams import Broker, StreamSettings, Transactions
from schemas.errors import SettingsError
from udfs.io.s3 import S3Options
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.joining import Terms
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.outcomes.rows import columns

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_ROCKSDB = {
    "state.backend.type": "rocksdb",
    "execution.checkpointing.incremental": "true",
    # Each prediction is looked for before it is there. Without these, where managed memory is small, each
    # look reads the indexes of all files: from 300,000 that wait on the join stood still for a minute.
    "state.backend.rocksdb.use-bloom-filter": "true",
    "state.backend.rocksdb.memory.partitioned-index-filters": "true",
}


class OutcomesKafka(Broker, Transactions):
    """Results and outcomes on Kafka, and what is said about them."""

    results: str = Field("results", description="topic of results, as the scoring jobs write them")
    outcomes: str = Field("outcomes", description="topic of what came of them")
    quality: str = Field("quality", description="topic of quality by window; best compacted")
    evidence: str = Field("evidence", description="topic of what speaks for and against arms of experiments")
    outcome_counts: str = Field("outcome-counts", description="topic of fates; best compacted")
    dead_letters: str = Field("dead-letters", description="topic of what met nothing, or cannot be read")


class JudgedType(Part):
    """How predictions of one data type are judged."""

    score: str = Field(
        description="the output that is judged: NAME, or NAME[0] of a list; with classes a list of "
        "probabilities, an output of each: probability({class}), or of kind labels one of the classes"
    )
    label: str = Field("label", description="the outcome's field that is held against it")
    kind: Literal["classes", "labels", "numbers"] = Field(
        "classes",
        description="classes: probabilities in [0, 1], of the positive of two classes or of each of them; "
        "labels: one of `classes`, without probabilities",
    )
    threshold: float = Field(
        0.5, ge=0, le=1, description="scores from here on say that the class is positive"
    )
    positive: bool | int | float | str | None = Field(
        None, description="the label of the positive class; empty: true, or 1"
    )
    classes: tuple[StrictBool | StrictInt | StrictStr, ...] = Field(
        (),
        description="the label's values where there are more than two, or of kind labels, in the order of "
        "`score`",
    )
    key: str = Field(
        "",
        description="the field of record and outcome by which they meet; empty: by source, partition, offset",
    )
    time: str = Field(
        "", description="the outcome's field with its time, epoch ms or ISO 8601; empty: its message's"
    )
    entity: str = Field("", description="the record's field that names the unit of experiments")
    fields: dict[str, str] = Field(
        {}, description="fields of the record to store: name -> int64, float64, bool or string"
    )
    slices: tuple[str, ...] = Field((), description="up to three of them, by which quality is told apart")
    metrics: tuple[str, ...] = Field((), description="numbers of the outcome that experiments may name")
    without: float | None = Field(
        None, description="what a window that closes without an outcome counts as; empty: nothing is known"
    )

    def judging(self) -> Judging:
        """Raises `SettingsError` where it contradicts itself."""
        return Judging(**self.model_dump())


class QualityTold(Part):
    """How quality is told."""

    window_seconds: int = Field(300, ge=1, description="windows of event time")
    seconds: float = Field(2, gt=0, description="how often what has changed goes out")
    most_keys: int = Field(
        10_000, ge=1, description="combinations of what is told apart; slices of more count as (other)"
    )


class OutcomesSettings(StreamSettings):
    """Join results with outcomes that come later. Give kafka, folder, or both."""

    own_jars: ClassVar[tuple[str, ...]] = ("flink-*.jar", "millrace-*.jar", "hadoop-*.jar")
    own_options: ClassVar[dict[str, str]] = {"table.local-time-zone": "UTC"}

    name: str = Field("millrace-outcomes", description="the job's name")
    kafka: OutcomesKafka | None = None
    data_types: dict[str, JudgedType] = Field(description="how predictions are judged, by data type")
    attribution_seconds: float = Field(
        86_400, gt=0, description="how much later than its record an outcome counts; the same for all models"
    )
    grace_seconds: float = Field(60, ge=0, description="how much longer predictions wait for outcomes")
    keep_seconds: float = Field(3600, ge=0, description="how long outcomes wait for their prediction")
    idle_seconds: float = Field(
        30, gt=0, description="a topic that is silent for so long has been read to its end"
    )
    catch_up_seconds: float = Field(
        3600, ge=0, description="the longest that reading takes what came while the job was away"
    )
    repeat_seconds: float = Field(
        0,
        ge=0,
        description="how long predictions that wait no more are known, so that a result that comes again is "
        "none; their identities are state meanwhile",
    )
    most_of_a_key: int = Field(100, ge=1, description="predictions, and outcomes, that wait under one key")
    quality: QualityTold = QualityTold.model_validate({})
    store: History | None = Field(None, description="the prediction store; empty: none")
    state: Literal["memory", "rocksdb"] = Field("memory", description="where waiting predictions are kept")
    s3: S3Options = S3Options()
    batch: Batching = Field(
        Batching.model_validate({"max_records": 8192, "min_ms": 50, "max_ms": 200}),
        description="when a micro-batch is closed",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kafka is not None:
            self.kafka.check_own(self.name, type(self).model_fields["name"].default)
        if not self.data_types:
            raise ValueError("data_types is empty: say how predictions of at least one data type are judged")
        for name, judged in self.data_types.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"data type {name!r} names a folder: use letters, digits and _.-")
            try:
                columns(judged.judging())
            except SettingsError as e:
                raise ValueError(f"data_types.{name}: {e}") from None
        if self.state == "rocksdb":
            self.flink = _ROCKSDB | self.flink
        return self

    def join(self) -> JoinSpec:
        terms = Terms(
            window=int(self.attribution_seconds * 1000),
            grace=int(self.grace_seconds * 1000),
            keep=int(self.keep_seconds * 1000),
            most_of_a_key=self.most_of_a_key,
            repeat=int(self.repeat_seconds * 1000),
        )
        return JoinSpec(
            judged={name: judged.judging() for name, judged in self.data_types.items()},
            terms=terms,
            idle_ms=int(self.idle_seconds * 1000),
            catch_up_ms=int(self.catch_up_seconds * 1000),
            to_the_end=self.bounded,
            store=self.store is not None,
            window_ms=self.quality.window_seconds * 1000,
            told_ms=max(int(self.quality.seconds * 1000), 1),
            most_keys=self.quality.most_keys,
        )
