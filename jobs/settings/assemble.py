"""The settings of `jobs/assemble.py`."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from jobs.settings.features import History
from jobs.settings.gathering import Batching
from jobs.settings.streams import Broker, StreamSettings, Transactions
from udfs.io.s3 import S3Options
from udfs.stores.online.base import RedisOptions
from udfs.stores.registry import DEFAULT_URL


class RequestKafka(Broker, Transactions):
    """Prediction requests on Kafka, and what becomes of them."""

    requests: str = Field("requests", description="topic of prediction requests")
    assembled: str = Field(
        "assembled", description="topic of completed requests, the scoring input; header data_type"
    )
    expired: str = Field("expired", description="topic of requests that could not be completed")
    dead_letters: str = Field("dead-letters", description="topic of records that are no requests")


class AssembleSettings(StreamSettings):
    """Put together the features that prediction requests need. Give kafka, folder, or both."""

    own_jars: ClassVar[tuple[str, ...]] = ("flink-*.jar", "millrace-*.jar", "hadoop-*.jar")
    own_options: ClassVar[dict[str, str]] = {"table.local-time-zone": "UTC"}

    name: str = Field("millrace-assemble", description="the job's name")
    kafka: RequestKafka | None = None
    registry: str = Field(
        DEFAULT_URL, repr=False, description="sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DB"
    )
    redis: RedisOptions = Field(RedisOptions(), description="the online store")
    history: History | None = Field(None, description="where created rows are kept too; empty: nowhere")
    on_demand_hosts: tuple[str, ...] = Field(
        (), description="services that may be asked for what is missing, HOST or HOST:PORT; *: any"
    )
    s3: S3Options = S3Options()
    batch: Batching = Field(Batching.model_validate({}), description="when a micro-batch is closed")

    @model_validator(mode="after")
    def _one_kind_of_stream(self) -> Self:
        if self.kafka is not None:
            self.kafka.check_own(self.name, type(self).model_fields["name"].default)
        return self
