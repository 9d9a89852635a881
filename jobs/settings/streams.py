"""The parts of the settings that say where streams come from and go to, and what records are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from jobs.settings.run import Part, RunSettings
from udfs.io.delivery import Delivery

Place = Literal["kafka", "folder"]


class Broker(Part):
    """How Kafka is reached and read."""

    bootstrap: str = Field(description="brokers, HOST:PORT,...")
    client: dict[str, str] = Field(
        {}, repr=False, description="any property of Kafka's Java clients, e.g. for TLS and SASL"
    )
    group: str = Field("", description="consumer group; empty: the job's name")
    start: Literal["earliest", "latest", "committed"] = Field(
        "committed", description="where to begin in the records without a savepoint"
    )
    check: bool = Field(True, description="ask the broker for the topics before the job starts")
    recreated: Literal["refuse", "anew"] = Field(
        "refuse",
        description="a topic that was made anew since the savepoint: the job fails, or reads all of it",
    )


class Transactions(BaseModel):
    """How outputs reach Kafka."""

    exactly_once: bool = Field(
        False, description="outputs in transactions, visible at checkpoints; else at least once, at once"
    )
    transaction_prefix: str = Field("", description="unique to the job; empty: the job's name")
    transaction_timeout_seconds: int = Field(
        600, ge=1, le=2_147_483, description="must cover the longest outage"
    )

    def check_own(self, job: str, default: str) -> None:
        """Raises `ValueError` where any other job without a name would have the same transactions."""
        if self.exactly_once and not self.transaction_prefix and job == default:
            raise ValueError(
                f"exactly_once needs transactions of the job's own, and {job!r} names any job that was "
                "given none: give name, or kafka.transaction_prefix"
            )

    def delivery(self, job: str) -> Delivery:
        """`job`: its name."""
        prefix = self.transaction_prefix or job
        return Delivery(self.exactly_once, prefix, self.transaction_timeout_seconds * 1000)


class Kafka(Broker, Transactions):
    """Streams on Kafka topics."""

    records: dict[str, str] = Field({}, description="topic of records -> data type of its records")
    data_type_header: str = Field("", description="name of a record header that holds the data type instead")
    models: str = Field("models", description="topic of model descriptors")
    models_kept: Literal["warn", "refuse", "set"] = Field(
        "warn",
        description="where that topic forgets what is old: say so, do not start, or set retention",
    )
    results: str = Field("results", description="topic of results")
    dead_letters: str = Field("dead-letters", description="topic of records that cannot be scored")
    model_events: str = Field("model-events", description="topic of what became of published models")
    model_stats: str = Field("model-stats", description="topic of usage and speed; best compacted")


class Folder(Part):
    """Streams in folders: ROOT/records/TYPE/*, ROOT/models/*; outputs in ROOT/results and so on.

    A file is read once, when it appears: it must be whole by then. Names that begin with a dot or an
    underscore are passed over, so write to such a name and rename.
    """

    root: Path = Field(description="the folder that holds records/, models/ and the outputs")
    poll_ms: int = Field(50, ge=1, le=60_000, description="how often to look for new files")


class StreamSettings(RunSettings):
    """What jobs share that read streams and write them, on Kafka, in folders, or both."""

    kafka: Broker | None = None
    folder: Folder | None = None
    source: Place | None = Field(
        None, description="where streams are read: kafka or folder; empty: on Kafka, where it is given"
    )
    sinks: tuple[Place, ...] = Field(
        (), description="where outputs go: kafka, folder, or both; empty: where streams are read"
    )

    @model_validator(mode="after")
    def _places(self) -> Self:
        given = {"kafka": self.kafka, "folder": self.folder}
        if self.kafka is None and self.folder is None:
            raise ValueError("give either kafka (kafka.bootstrap) or folder (folder.root), or both")
        for setting, named in (("source", [self.source] if self.source else []), ("sinks", self.sinks)):
            if unknown := [place for place in named if given[place] is None]:
                raise ValueError(f"{setting} names {unknown[0]}, and there are no settings {unknown[0]}.*")
        if None not in given.values() and not (self.source or self.sinks):
            raise ValueError("kafka and folder are given: say with source and sinks what each of them is for")
        if len(set(self.sinks)) < len(self.sinks):
            raise ValueError(f"sinks names {self.sinks[0]} twice")
        return self

    @property
    def reads_kafka(self) -> bool:
        """Whether streams are read on Kafka; else they are in the folder."""
        return self.kafka is not None and self.source != "folder"

    @property
    def reads(self) -> Place:
        """Where streams are read."""
        return "kafka" if self.reads_kafka else "folder"

    @property
    def consumer_group(self) -> str:
        """The job's own, if not told: one of two jobs that share a group goes on where the other is."""
        return (self.kafka.group if self.kafka is not None else "") or self.name

    @property
    def writes(self) -> tuple[Place, ...]:
        """Where outputs go."""
        return self.sinks or (self.reads,)


class DataType(Part):
    """What is known of one type of records."""

    fields: tuple[str, ...] = Field((), description="the records' numeric fields, in order")
    warm_up_batches: tuple[int, ...] = Field((1, 64, 1024), description="batch sizes to warm models up at")
    warm_up_seconds: float = Field(
        20.0, ge=0, description="what warming a model up may take; larger batches are then left out, and cut"
    )
    warm_up_bytes: int = Field(1 << 30, ge=0, description="memory that one call in warming up may take")
    training_operators: bool = Field(
        False,
        description="take TensorFlow models with operators of training and gradients in what they serve",
    )
    pypmml: bool = Field(
        False,
        description="let pypmml (a JVM) score PMML that the compiler refuses, if its own rows prove it",
    )
    require_verification: bool = Field(
        False, description="refuse PMML that holds no rows with results of its own (ModelVerification)"
    )
    second_opinion: bool = Field(
        False,
        description="score PMML with pypmml (a JVM) too when it is loaded; its event says where they differ",
    )
