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

from udfs.stores.registry.tables import METADATA


def _key() -> list[Column]:
    names = [Column(name, String, primary_key=True) for name in ("data_type", "name")]
    return [
        *names,
        Column("version", BigInteger, primary_key=True),
        Column("digest", String, primary_key=True),
    ]


VERSIONS = Table(
    "millrace_model_versions",
    METADATA,
    *_key(),
    Column("model_type", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("publisher", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("code_version", Text, nullable=False),
    Column("release", String, nullable=False),
    Column("source", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("outputs", JSON, nullable=False),
    Column("training_set", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("descriptor", LargeBinary, nullable=False),
)

METRICS = Table(
    "millrace_model_metrics",
    METADATA,
    *_key(),
    Column("metric", String, primary_key=True),
    Column("dataset", String, primary_key=True),
    Column("value", Double, nullable=False),
    Column("measured", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["data_type", "name", "version", "digest"],
        [VERSIONS.c.data_type, VERSIONS.c.name, VERSIONS.c.version, VERSIONS.c.digest],
    ),
)

CONTENTS = Table(
    "millrace_model_contents",
    METADATA,
    Column("digest", String, primary_key=True),
    Column("location", String, primary_key=True),
    Column("size", BigInteger, nullable=False),
)

# Each change of an alias is a row; the newest is in force.
ALIASES = Table(
    "millrace_model_aliases",
    METADATA,
    Column("data_type", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("alias", String, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

PLANS = Table(
    "millrace_plans",
    METADATA,
    *_key(),
    Column("plan", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("description", Text, nullable=False),
)

# `id`: the SHA-256 of the job and the event, so that an event that is read again is no second one.
EVENTS = Table(
    "millrace_model_events",
    METADATA,
    Column("id", String, primary_key=True),
    Column("job", String, nullable=False),
    Column("data_type", String, nullable=False, index=True),
    Column("name", String, nullable=False, index=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("event", JSON, nullable=False),
)

# The newest statistics of one version since it was switched on, by the instance that tells them; `kind` is
# `model`, or `candidate` for what a collector tells.
STATISTICS = Table(
    "millrace_model_statistics",
    METADATA,
    Column("job", String, primary_key=True),
    Column("kind", String, primary_key=True),
    *_key(),
    Column("subtask", BigInteger, primary_key=True),
    Column("since", BigInteger, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("statistics", JSON, nullable=False),
)
