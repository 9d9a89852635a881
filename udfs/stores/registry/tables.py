"""The registry's tables: one schema, whichever database holds it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
)

SCHEMA_VERSION = 2
"""2 has tables of models beside those of 1, which are as they were. Tables that releases passed over which
know 2 change no version: whoever reads them looks whether they are there."""
READABLE = frozenset({1, 2})

METADATA = MetaData()


def keys(kind: Any, *names: str) -> list[Column]:
    """Columns of the primary key."""
    return [Column(name, kind, primary_key=True) for name in names]


def columns(kind: Any, *names: str, index: bool = False) -> list[Column]:
    """Columns beside the key; each has a value in every row."""
    return [Column(name, kind, nullable=False, index=index) for name in names]


SCHEMA = Table("millrace_schema", METADATA, *keys(Integer, "version"))

SOURCES = Table("millrace_sources", METADATA, *keys(String, "name"), *columns(JSON, "declaration"))

REFERENCES = Table("millrace_references", METADATA, *keys(String, "name"), *columns(JSON, "declaration"))

# `position` keeps the order in which views were registered; `source` is the stream at the very beginning,
# `through` the views on the way from it, the nearest first.
VIEWS = Table(
    "millrace_views",
    METADATA,
    *keys(String, "id"),
    Column("position", Integer, nullable=False, unique=True),
    *columns(JSON, "declaration"),
    Column("source", String, ForeignKey(SOURCES.c.name), nullable=False),
    *columns(JSON, "through"),
    *columns(BigInteger, "ttl_ms"),
)


def _of_view() -> Column:
    return Column("view", String, ForeignKey(VIEWS.c.id), primary_key=True)


ENTITIES = Table(
    "millrace_entities", METADATA, _of_view(), *keys(Integer, "position"), *columns(String, "name", "type")
)

FEATURES = Table(
    "millrace_features",
    METADATA,
    _of_view(),
    *keys(String, "name"),
    *columns(Integer, "position"),
    *columns(String, "type"),
)

MODELS = Table(
    "millrace_models",
    METADATA,
    *keys(String, "model"),
    *keys(BigInteger, "version"),
    *columns(String, "data_type"),
)

MODEL_INPUTS = Table(
    "millrace_model_inputs",
    METADATA,
    *keys(String, "model"),
    *keys(BigInteger, "version"),
    *keys(Integer, "position"),
    *columns(String, "field", "view", "feature"),
    ForeignKeyConstraint(["model", "version"], [MODELS.c.model, MODELS.c.version]),
    ForeignKeyConstraint(["view", "feature"], [FEATURES.c.view, FEATURES.c.name]),
)

ON_DEMAND = Table("millrace_on_demand", METADATA, _of_view(), *columns(JSON, "declaration"))
