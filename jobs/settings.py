"""The settings of the serving jobs: one typed object, from a TOML file, the environment and flags.

Flags win over `MILLRACE_...` variables, those over the file. `python jobs/serve.py --help` lists them.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from schemas.codecs.factory import CodecSpec
from schemas.errors import SettingsError
from udfs.holding import HoldPolicy
from udfs.loading import LoadPolicy
from udfs.s3 import S3Options
from udfs.scoring_spec import ScoringSpec


class Kafka(BaseModel):
    """Streams on Kafka topics."""

    model_config = ConfigDict(extra="forbid")

    bootstrap: str = Field(description="brokers, HOST:PORT,...")
    client: dict[str, str] = Field(
        {}, description="any property of Kafka's Java clients, e.g. for TLS and SASL"
    )
    group: str = Field("millrace", description="consumer group")
    start: Literal["earliest", "latest", "committed"] = Field(
        "committed", description="where to begin in the records without a savepoint"
    )
    records: dict[str, str] = Field(description="topic of records -> data type of its records")
    data_type_header: str = Field("", description="name of a record header that holds the data type instead")
    models: str = Field("models", description="topic of model descriptors")
    results: str = Field("results", description="topic of results")
    dead_letters: str = Field("dead-letters", description="topic of records that cannot be scored")
    model_events: str = Field("model-events", description="topic of what became of announced models")
    model_stats: str = Field("model-stats", description="topic of usage and speed; best compacted")
    exactly_once: bool = Field(
        False, description="results in transactions, visible at checkpoints; else at least once, at once"
    )
    transaction_prefix: str = Field("", description="unique to the job; empty: the job's name")
    transaction_timeout_seconds: int = Field(600, description="must cover the longest outage")
    check: bool = Field(True, description="ask the broker for the topics before the job starts")


class Folder(BaseModel):
    """Streams in folders: ROOT/records/TYPE/*, ROOT/models/*.model; outputs in ROOT/results and so on."""

    model_config = ConfigDict(extra="forbid")

    root: Path = Field(description="the folder that holds records/, models/ and the outputs")
    looks_per_second: int = Field(20, ge=1, le=1000, description="how often to look for news")


class DataType(BaseModel):
    """What is known of one type of records."""

    model_config = ConfigDict(extra="forbid")

    fields: tuple[str, ...] = Field((), description="the records' numeric fields, in order")
    warm_up_batches: tuple[int, ...] = Field((1, 64, 1024), description="batch sizes to warm models up at")


class ServeSettings(BaseSettings):
    """Score records with models that change while the job runs. Give either kafka or folder."""

    model_config = SettingsConfigDict(
        env_prefix="MILLRACE_", env_nested_delimiter="__", extra="forbid", cli_kebab_case=True
    )

    name: str = Field("millrace-serve", description="the job's name")
    kafka: Kafka | None = None
    folder: Folder | None = None
    codec: CodecSpec = Field(CodecSpec(), description="how records are encoded: json, protobuf or avro")
    data_types: dict[str, DataType] = {}
    window_ms: int = Field(20, ge=1, le=10_000, description="how long records are gathered into a block")
    max_block: int = Field(1024, ge=1, description="the most records that a model scores in one call")
    hold: HoldPolicy = Field(HoldPolicy(), description="bounds for records that come before their model")
    model_roots: tuple[str, ...] = Field((), description="where descriptors' locations may point")
    s3: S3Options = S3Options()
    stats_seconds: float = Field(5, gt=0, description="how often statistics go out")
    bounded: bool = Field(False, description="end when what is there now has been scored")
    lanes: int = Field(16, ge=1, description="partition-based join: the most instances that share one type")
    mode: Literal["thread", "process"] = Field("thread", description="Flink's Python execution mode")
    parallelism: int | None = Field(None, ge=1, description="empty: as the cluster or `flink run -p` says")
    checkpoint_seconds: float | None = Field(None, gt=0, description="empty: as the cluster says")
    jars: Path | None = Field(None, description="where scripts/setup put jars; for runs without a cluster")
    flink: dict[str, str] = Field({}, description="any Flink option")

    @model_validator(mode="after")
    def _one_kind_of_stream(self) -> Self:
        if (self.kafka is None) == (self.folder is None):
            raise ValueError("give either kafka (kafka.bootstrap and kafka.records) or folder (folder.root)")
        if self.kafka is not None and not self.kafka.records:
            raise ValueError("kafka.records is empty: name at least one topic and its data type")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))

    def scoring(self, lanes: int = 0) -> ScoringSpec:
        """What the scoring operator needs; `lanes` for the partition-based join."""

        def policy(data_type: DataType) -> LoadPolicy:
            return LoadPolicy(
                roots=self.model_roots,
                fields=data_type.fields,
                warm_up_batches=data_type.warm_up_batches,
                s3=self.s3,
            )

        return ScoringSpec(
            codec=self.codec,
            default_load=policy(DataType.model_validate({})),
            load={name: policy(known) for name, known in self.data_types.items()},
            hold=self.hold,
            max_block=self.max_block,
            lanes=lanes,
            stats_ms=int(self.stats_seconds * 1000),
        )


def read_settings(arguments: list[str]) -> ServeSettings:
    """The settings of a run. `--config FILE` or `MILLRACE_CONFIG` names a TOML file.

    Raises `SettingsError`, with every fault.
    """
    file = os.environ.get("MILLRACE_CONFIG")
    if "--config" in arguments:
        at = arguments.index("--config")
        if at + 1 >= len(arguments):
            raise SettingsError("--config needs the path of a TOML file")
        file = arguments[at + 1]
        arguments = arguments[:at] + arguments[at + 2 :]
    if file and not Path(file).is_file():
        raise SettingsError(f"there is no settings file {file}")

    class Configured(ServeSettings):
        __doc__ = ServeSettings.__doc__
        model_config = SettingsConfigDict(toml_file=file or None)

    try:
        flags = CliSettingsSource[ServeSettings](Configured, cli_prog_name=Path(sys.argv[0]).name)
        return Configured(_cli_settings_source=flags(args=arguments))  # type: ignore[call-arg]
    except tomllib.TOMLDecodeError as e:
        raise SettingsError(f"{file} is no TOML: {e}") from None
    except ValidationError as e:
        faults = (f"{'.'.join(map(str, f['loc'])) or 'settings'}: {f['msg']}" for f in e.errors())
        raise SettingsError("; ".join(faults)) from None
