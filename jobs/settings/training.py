"""The settings of `jobs/training_set.py`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from jobs.settings.run import RunSettings
from udfs.io.s3 import S3Options
from udfs.stores.registry import DEFAULT_URL


class TrainingSettings(RunSettings):
    """Join features to labels, each row as it was known at its time. Give either model or features."""

    own_jars: ClassVar[tuple[str, ...]] = ("flink-*.jar", "hadoop-*.jar")
    own_options: ClassVar[dict[str, str]] = {
        "execution.runtime-mode": "BATCH",
        "table.local-time-zone": "UTC",
        # joins that are planned anew while they run fail in a job that goes through the DataStream API
        "table.optimizer.adaptive-broadcast-join.strategy": "none",
        "table.optimizer.skewed-join-optimization.strategy": "none",
    }

    name: str = Field("millrace-training-set", description="the job's name")
    labels: str = Field(description="Parquet file or folder with entity columns, times and labels")
    timestamp: str = Field("event_timestamp", description="its column of times: timestamps, or epoch ms")
    known_at: str = Field(
        "", description="its column of times after which nothing may have been created; empty: no bound"
    )
    entities: dict[str, str] = Field(
        {}, description="entity column of views -> column of the labels; the others are called alike"
    )
    model: str = Field("", description="a model of the registry: its input fields become the columns")
    version: int = Field(0, ge=0, description="of the model")
    features: tuple[str, ...] = Field((), description="VIEW_vVERSION:FEATURE, where there is no model")
    prefix: bool = Field(False, description="columns are called VIEW_vVERSION__FEATURE")
    history: str = Field(description="where views have their history: s3://BUCKET/PREFIX or a folder")
    out: str = Field(description="a folder for the training set; nothing may be in it")
    registry: str = Field(
        DEFAULT_URL, repr=False, description="sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DB"
    )
    s3: S3Options = S3Options()

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.model) == bool(self.features):
            raise ValueError("give either model, or features")
        return self

    def url(self, where: str) -> str:
        """A folder's path as a URL."""
        return where if where.startswith(("s3:", "file:")) else Path(where).resolve().as_uri()
