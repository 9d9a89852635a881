"""The settings of `jobs/features.py` and `jobs/backfill.py`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

import msgspec
from pydantic import Field, model_validator

from jobs.settings.gathering import Batching
from jobs.settings.run import Part, RunSettings
from jobs.settings.streams import Broker, StreamSettings
from schemas.features.declarations import Declarations
from udfs.features.events.view_spec import ViewSpec
from udfs.io.s3 import S3Options
from udfs.stores.online.base import RedisOptions


class FeatureKafka(Broker):
    """Event streams on Kafka: the topics are those of the declared sources."""

    dead_letters: str = Field("dead-letters", description="topic of events that no view could take")


class History(Part):
    """Where final rows are kept, as Parquet below `VIEW_vN/dt=DAY`."""

    url: str = Field(description="s3://BUCKET/PREFIX, or a folder's path or file: URL")
    partition: Literal["day", "hour"] = Field("day", description="hour: dt=DAY/hr=HOUR; both in UTC")
    roll_seconds: int = Field(
        300, ge=1, description="the longest that a file stays open; each checkpoint closes it"
    )
    compact: bool = Field(True, description="small files of a checkpoint become one")
    file_mb: int = Field(128, ge=1, description="about the largest file")

    def location(self) -> str:
        """As a URL."""
        is_url = self.url.startswith(("s3:", "file:"))
        return self.url if is_url else Path(self.url).resolve().as_uri()


class StoreSettings(RunSettings):
    """What the jobs that compute features share."""

    own_jars: ClassVar[tuple[str, ...]] = ("flink-*.jar", "millrace-*.jar", "hadoop-*.jar")
    own_options: ClassVar[dict[str, str]] = {
        "table.local-time-zone": "UTC",
        # what is written at a mark must be all that the barrier behind it covers
        "execution.checkpointing.unaligned.enabled": "false",
        # while Redis is away checkpoints time out, and the job is to wait
        "execution.checkpointing.tolerable-failed-checkpoints": "100000",
    }

    declarations: Path = Field(description="TOML or Python file with sources, references and views")
    redis: RedisOptions | None = Field(None, description="the online store; empty: none")
    history: History | None = None
    s3: S3Options = S3Options()
    resident: int = Field(
        200_000, ge=1, description="the most entities of a view in the memory of an instance"
    )

    @model_validator(mode="after")
    def _some_store(self) -> Self:
        if self.redis is None and self.history is None:
            raise ValueError("give redis, history, or both: there is nowhere to put features")
        return self


class FeatureSettings(StoreSettings, StreamSettings):
    """Create features from event streams. Give kafka, folder, or both."""

    name: str = Field("millrace-features", description="the job's name")
    kafka: FeatureKafka | None = None
    batch: Batching = Field(
        Batching.model_validate({"max_records": 16_384, "min_ms": 20}),
        description="when a micro-batch is closed",
    )
    watermark_step_ms: int = Field(
        250, ge=1, le=60_000, description="watermarks count in steps of so much event time"
    )

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        names = ("execution.checkpointing.unaligned.enabled", "execution.checkpointing.unaligned")
        if any(self.flink.get(name, "false").lower() == "true" for name in names):
            raise ValueError("features need aligned checkpoints: leave out the option for unaligned ones")
        return self

    def views(self, declared: Declarations, views: tuple[str, ...], groups: int) -> ViewSpec:
        """`groups`: how many key groups the job has."""
        return ViewSpec(
            declared,
            views,
            groups=groups,
            watermark_step_ms=self.watermark_step_ms,
            resident=self.resident,
            online=self.redis is not None,
            history=self.history is not None,
            final_again=False,
        )


class BackfillSettings(StoreSettings):
    """Create features from the history of the declared sources, in batch."""

    own_options: ClassVar[dict[str, str]] = {
        "execution.runtime-mode": "BATCH",
        "table.local-time-zone": "UTC",
    }

    name: str = Field("millrace-backfill", description="the job's name")
    slice_seconds: int = Field(
        3600, ge=1, description="event time of a slice of history, which becomes final at once"
    )
    dead_letters: Path = Field(Path("dead-letters"), description="folder of events that no view could take")

    def views(self, declared: Declarations, views: tuple[str, ...], groups: int) -> ViewSpec:
        """`groups`: how many key groups the job has."""
        # without provisional rows: nobody waits for them, and each entity's newest final row comes last
        late = tuple(msgspec.structs.replace(v, online_provisional=False) for v in declared.views)
        return ViewSpec(
            msgspec.structs.replace(declared, views=late),
            views,
            groups=groups,
            online=self.redis is not None,
            history=self.history is not None,
        )
