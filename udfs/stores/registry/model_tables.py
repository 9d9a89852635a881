"""The registry's tables of models, in the schema that holds those of features."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    ForeignKeyConstraint,
    LargeBinary,
    String,
    Table,
    Text,
)

from udfs.stores.registry.tables import METADATA, columns, keys

_STAMP = ("data_type", "name", "version", "digest")


def _stamp() -> list[Column]:
    return [*keys(String, "data_type", "name"), *keys(BigInteger, "version"), *keys(String, "digest")]


VERSIONS = Table(
    "millrace_model_versions",
    METADATA,
    *_stamp(),
    *columns(String, "model_type"),
    *columns(BigInteger, "created"),
    *columns(Text, "publisher", "description", "code_version"),
    *columns(String, "release"),
    *columns(Text, "source"),
    *columns(BigInteger, "size"),
    *columns(JSON, "inputs", "outputs", "training_set", "tags"),
    *columns(LargeBinary, "descriptor"),
)

METRICS = Table(
    "millrace_model_metrics",
    METADATA,
    *_stamp(),
    *keys(String, "metric", "dataset"),
    *columns(Double, "value"),
    *columns(BigInteger, "measured"),
    ForeignKeyConstraint(_STAMP, [VERSIONS.c[name] for name in _STAMP]),
)

CONTENTS = Table(
    "millrace_model_contents", METADATA, *keys(String, "digest", "location"), *columns(BigInteger, "size")
)

# Each change of an alias is a row; the newest is in force.
ALIASES = Table(
    "millrace_model_aliases",
    METADATA,
    *keys(String, "data_type", "name", "alias"),
    *keys(BigInteger, "at"),
    *columns(BigInteger, "version"),
    *columns(Text, "by", "reason"),
)

PLANS = Table(
    "millrace_plans",
    METADATA,
    *_stamp(),
    *columns(Text, "plan"),
    *columns(BigInteger, "created"),
    *columns(Text, "description"),
)

# `id`: the SHA-256 of the job and the event, so that an event that is read again is no second one.
EVENTS = Table(
    "millrace_model_events",
    METADATA,
    *keys(String, "id"),
    *columns(String, "job"),
    *columns(String, "data_type", "name", index=True),
    *columns(BigInteger, "at", index=True),
    *columns(JSON, "event"),
)

# The newest statistics of one version since it was switched on, by the instance that tells them; `kind` is
# `model`, or `candidate` for what a collector tells.
STATISTICS = Table(
    "millrace_model_statistics",
    METADATA,
    *keys(String, "job", "kind"),
    *_stamp(),
    *keys(BigInteger, "subtask", "since"),
    *columns(BigInteger, "at"),
    *columns(JSON, "statistics"),
)

# The newest of what is told of quality since the start, by what it is of; `id`: the SHA-256 of that, as all
# names together are longer than an index takes. `name`: of the model, or of the candidate.
QUALITY = Table(
    "millrace_model_quality",
    METADATA,
    *keys(String, "id"),
    *columns(String, "data_type", "name", index=True),
    *columns(BigInteger, "version", "at"),
    *columns(JSON, "quality"),
)

# What experiments did; `id`: the SHA-256 of the event, so that one that is read again is no second one.
EXPERIMENTS = Table(
    "millrace_model_experiments",
    METADATA,
    *keys(String, "id"),
    *columns(String, "data_type", "experiment", index=True),
    *columns(BigInteger, "at"),
    *columns(JSON, "event"),
)
