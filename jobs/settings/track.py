"""The settings of `jobs/track.py`."""

from __future__ import annotations

from pydantic import Field

from jobs.settings.streams import Broker, Folder, StreamSettings, Transactions
from udfs.io.s3 import S3Options
from udfs.lifecycle.repository.tracking import TrackSpec
from udfs.models.model_store import StoreSpec
from udfs.stores.registry import DEFAULT_URL


class ToldKafka(Broker, Transactions):
    """What jobs tell of models on Kafka topics, and the model stream."""

    model_events: dict[str, str] = Field(
        {"model-events": "serve"}, description="topic of model events -> the job that writes it"
    )
    model_stats: dict[str, str] = Field(
        {"model-stats": "serve"}, description="topic of statistics -> the job that writes it"
    )
    models: str = Field("models", description="topic of model descriptors and plans")
    quality: str = Field("", description="topic of quality, of jobs/outcomes.py; empty: it is not read")
    experiments: str = Field(
        "", description="topic of what became of experiments, of jobs/experiment.py; empty: it is not read"
    )
    dead_letters: str = Field("dead-letters", description="topic of messages that are none of these")


class TrackSettings(StreamSettings):
    """Keep in the registry who served what, where and when. Give kafka, folder, or both."""

    name: str = Field("millrace-track", description="the job's name")
    kafka: ToldKafka | None = None
    folder: Folder | None = Field(None, description="a scoring job's own")
    job: str = Field(
        "serve", description="of a folder: the name under which the registry keeps the job that writes there"
    )
    registry: str = Field(
        DEFAULT_URL, repr=False, description="sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DB"
    )
    patience_seconds: float = Field(
        60, ge=0, description="how long a registry that is away is asked before the job fails"
    )
    model_store: str = Field(
        "",
        description="folder or s3://BUCKET/PREFIX for models that travel in descriptors, by content; empty: "
        "they are not kept",
    )
    s3: S3Options = S3Options()

    def tracking(self) -> TrackSpec:
        """What the operators need."""
        job = "" if self.reads_kafka else self.job
        return TrackSpec(self.registry, StoreSpec.at(self.model_store, self.s3), job, self.patience_seconds)
