"""The registry's tables: one schema, whichever database holds it."""

from __future__ import annotations

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
"""2 has tables of models beside those of 1, which are as they were."""
READABLE = frozenset({1, 2})

METADATA = MetaData()

SCHEMA = Table("millrace_schema", METADATA, Column("version", Integer, primary_key=True))

SOURCES = Table(
    "millrace_sources",
    METADATA,
    Column("name", String, primary_key=True),
    Column("declaration", JSON, nullable=False),
)

REFERENCES = Table(
    "millrace_references",
    METADATA,
    Column("name", String, primary_key=True),
    Column("declaration", JSON, nullable=False),
)

# `position` keeps the order in which views were registered; `source` is the stream at the very beginning,
# `through` the views on the way from it, the nearest first.
VIEWS = Table(
    "millrace_views",
    METADATA,
    Column("id", String, primary_key=True),
    Column("position", Integer, nullable=False, unique=True),
    Column("declaration", JSON, nullable=False),
    Column("source", String, ForeignKey(SOURCES.c.name), nullable=False),
    Column("through", JSON, nullable=False),
    Column("ttl_ms", BigInteger, nullable=False),
)

ENTITIES = Table(
    "millrace_entities",
    METADATA,
    Column("view", String, ForeignKey(VIEWS.c.id), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("type", String, nullable=False),
)

FEATURES = Table(
    "millrace_features",
    METADATA,
    Column("view", String, ForeignKey(VIEWS.c.id), primary_key=True),
    Column("name", String, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("type", String, nullable=False),
)

MODELS = Table(
    "millrace_models",
    METADATA,
    Column("model", String, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("data_type", String, nullable=False),
)

MODEL_INPUTS = Table(
    "millrace_model_inputs",
    METADATA,
    Column("model", String, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("field", String, nullable=False),
    Column("view", String, nullable=False),
    Column("feature", String, nullable=False),
    ForeignKeyConstraint(["model", "version"], [MODELS.c.model, MODELS.c.version]),
    ForeignKeyConstraint(["view", "feature"], [FEATURES.c.view, FEATURES.c.name]),
)

ON_DEMAND = Table(
    "millrace_on_demand",
    METADATA,
    Column("view", String, ForeignKey(VIEWS.c.id), primary_key=True),
    Column("declaration", JSON, nullable=False),
)
