"""Rows of the registry's tables of models as models, inside a transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Table, and_, delete, insert, select, update

from udfs.stores.registry.model_records import Metric, ModelColumn, RegisteredModel, TrainedOn, plain
from udfs.stores.registry.model_tables import METRICS, VERSIONS

_TEXTS = ("model_type", "publisher", "description", "code_version", "release", "source")
_NUMBERS = ("created", "size")


def models_where(db: Connection, *conditions: Any) -> list[RegisteredModel]:
    """The models whose rows of `VERSIONS` fulfil the conditions, by name and in the order of creation."""
    order = (VERSIONS.c.data_type, VERSIONS.c.name, VERSIONS.c.created, VERSIONS.c.version)
    rows = db.execute(select(VERSIONS).where(*conditions).order_by(*order)).mappings().all()
    measured = _metrics(db, rows)
    return [_model(row, measured[_key(row)]) for row in rows]


def write_model(db: Connection, model: RegisteredModel, known: bool) -> None:
    """Put a model's rows in the place of those that are there."""
    row: dict[str, Any] = {name: plain(getattr(model, name)) for name in _TEXTS}
    row |= {name: getattr(model, name) for name in (*_NUMBERS, "descriptor")}
    row |= {
        "inputs": msgspec.to_builtins(model.inputs),
        "outputs": msgspec.to_builtins(model.outputs),
        "training_set": None if model.training_set is None else msgspec.to_builtins(model.training_set),
        "tags": dict(model.tags),
    }
    key = dict(zip(("data_type", "name", "version", "digest"), model.key, strict=True))
    if known:
        db.execute(update(VERSIONS).where(same_key(VERSIONS, key)).values(**row))
    else:
        db.execute(insert(VERSIONS).values(**key, **row))
    db.execute(delete(METRICS).where(same_key(METRICS, key)))
    rows = [
        {**key, "metric": m.name, "dataset": m.dataset, "value": m.value, "measured": m.measured}
        for m in model.metrics
    ]
    if rows:
        db.execute(insert(METRICS), rows)


def same_key(table: Table, key: Mapping[str, Any]) -> Any:
    """The condition that the columns have these values."""
    return and_(*(table.c[name] == value for name, value in key.items()))


def insert_new(db: Connection, table: Table, rows: Mapping[str, Mapping[str, Any]]) -> int:
    """Insert rows, by their ids, that are not there yet; how many these were."""
    known = {*db.execute(select(table.c.id).where(table.c.id.in_(rows))).scalars()}
    if new := [row for row_id, row in rows.items() if row_id not in known]:
        db.execute(insert(table), new)
    return len(new)


def put_newest(
    db: Connection,
    table: Table,
    key: Mapping[str, Any],
    row: Mapping[str, Any],
    about: Mapping[str, Any] = {},
) -> int | None:
    """Put a row with a time (`at`) in the place of an older one of its key; the time of what was there.

    `about`: columns beside the key that never change.
    """
    at = db.execute(select(table.c.at).where(same_key(table, key))).scalar()
    if at is None:
        db.execute(insert(table).values(**key, **about, **row))
    elif at < row["at"]:
        db.execute(update(table).where(same_key(table, key)).values(**row))
    return at


def _metrics(db: Connection, rows: Iterable[RowMapping]) -> Mapping[tuple[Any, ...], list[Metric]]:
    found: defaultdict[tuple[Any, ...], list[Metric]] = defaultdict(list)
    names = {(row["data_type"], row["name"]) for row in rows}
    for data_type, name in names:
        asked = select(METRICS).where((METRICS.c.data_type == data_type) & (METRICS.c.name == name))
        for row in db.execute(asked.order_by(METRICS.c.metric, METRICS.c.dataset)).mappings():
            found[_key(row)].append(Metric(row["metric"], row["value"], row["dataset"], row["measured"]))
    return found


def _key(row: RowMapping) -> tuple[Any, ...]:
    return row["data_type"], row["name"], row["version"], row["digest"]


def _model(row: RowMapping, metrics: Sequence[Metric]) -> RegisteredModel:
    trained = row["training_set"]
    told: dict[str, Any] = {name: row[name] for name in (*_TEXTS, *_NUMBERS)}
    return RegisteredModel(
        **dict(zip(("data_type", "name", "version", "digest"), _key(row), strict=True)),
        **told,
        inputs=msgspec.convert(row["inputs"], tuple[ModelColumn, ...]),
        outputs=msgspec.convert(row["outputs"], tuple[ModelColumn, ...]),
        training_set=None if trained is None else msgspec.convert(trained, TrainedOn),
        metrics=tuple(metrics),
        tags=row["tags"],
        descriptor=bytes(row["descriptor"]),
    )


# Taken in here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_COLUMNS_DECODER = msgspec.json.Decoder(tuple[ModelColumn, ...])
_TRAINED_DECODER = msgspec.json.Decoder(TrainedOn)
