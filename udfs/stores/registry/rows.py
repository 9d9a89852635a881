"""Rows of the registry's tables as declarations, views, models and lineages, inside a transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, insert, select, update

from schemas.errors import RegistryError
from schemas.features.declarations import (
    Declarations,
    Enrichment,
    FeatureType,
    FeatureView,
    read_declarations,
)
from schemas.features.rules import event_types, feature_types
from udfs.stores.online.base import StoredView
from udfs.stores.registry.base import FeatureRef, Lineage, ModelInputs
from udfs.stores.registry.tables import ENTITIES, FEATURES, MODEL_INPUTS, MODELS, REFERENCES, SOURCES, VIEWS


def no_view(view: str) -> RegistryError:
    return RegistryError(
        f"the registry does not know the view {view!r} (NAME_vVERSION): "
        "`millrace features list` shows those it knows"
    )


def read_all(db: Connection) -> Declarations:
    def all_of(table: Table, by: Any) -> list[Any]:
        return list(db.execute(select(table.c.declaration).order_by(by)).scalars())

    return read_declarations(
        {
            "sources": all_of(SOURCES, SOURCES.c.name),
            "references": all_of(REFERENCES, REFERENCES.c.name),
            "views": [_in_words_of_now(one) for one in all_of(VIEWS, VIEWS.c.position)],
        }
    )


def read_view(stored: dict[str, Any]) -> FeatureView:
    """A view from the declaration that is stored of it."""
    return read_declarations({"views": [_in_words_of_now(stored)]}).views[0]


def _in_words_of_now(view: dict[str, Any]) -> dict[str, Any]:
    """A view as releases up to 0.3 stored it: they called the emission `threshold` `crossing`, and the field
    `online_provisional` `online_early`."""
    now = {"online_provisional" if name == "online_early" else name: of for name, of in view.items()}
    emit = now.get("emit", {})
    return now | {"emit": emit | {"emit": "threshold"}} if emit.get("emit") == "crossing" else now


def stored_of(view: FeatureView, declared: Declarations) -> StoredView:
    events = event_types(view, declared)
    features = feature_types(view, declared)
    return StoredView(
        view.id, tuple((k, events[k]) for k in view.entity), tuple(features.items()), view.ttl_ms
    )


def stored_view(db: Connection, view: str) -> StoredView:
    ttl_ms = db.execute(select(VIEWS.c.ttl_ms).where(VIEWS.c.id == view)).scalar()
    if ttl_ms is None:
        raise no_view(view)

    def columns(table: Table) -> tuple[tuple[str, FeatureType], ...]:
        asked = select(table.c.name, table.c.type).where(table.c.view == view).order_by(table.c.position)
        return tuple((name, FeatureType(kind)) for name, kind in db.execute(asked))

    return StoredView(view, columns(ENTITIES), columns(FEATURES), ttl_ms)


def replace_declared(db: Connection, table: Table, declared: Sequence[Any]) -> None:
    known = dict(db.execute(select(table.c.name, table.c.declaration)).tuples().all())
    for one in declared:
        plain = msgspec.to_builtins(one)
        if one.name not in known:
            db.execute(insert(table).values(name=one.name, declaration=plain))
        elif known[one.name] != plain:
            db.execute(table.update().where(table.c.name == one.name).values(declaration=plain))


def add_view(
    db: Connection, position: int, view: FeatureView, path: tuple[str, tuple[str, ...]], stored: StoredView
) -> None:
    source, through = path
    row = {"id": view.id, "position": position, "declaration": msgspec.to_builtins(view), "source": source}
    db.execute(insert(VIEWS).values(**row, through=list(through), ttl_ms=view.ttl_ms))
    for table, columns in ((ENTITIES, stored.entity), (FEATURES, stored.features)):
        rows = [
            {"view": view.id, "position": n, "name": name, "type": kind.value}
            for n, (name, kind) in enumerate(columns)
        ]
        db.execute(insert(table), rows)


def describe_view(db: Connection, view: FeatureView) -> None:
    """Another owner or other descriptions of a view that is there."""
    db.execute(update(VIEWS).where(VIEWS.c.id == view.id).values(declaration=msgspec.to_builtins(view)))


def model_inputs(db: Connection, model: str, version: int) -> ModelInputs | None:
    one = (MODELS.c.model == model) & (MODELS.c.version == version)
    data_type = db.execute(select(MODELS.c.data_type).where(one)).scalar()
    if data_type is None:
        return None
    inputs = MODEL_INPUTS.c
    asked = select(inputs.field, inputs.view, inputs.feature).order_by(inputs.position)
    rows = db.execute(asked.where((inputs.model == model) & (inputs.version == version)))
    return ModelInputs(model, version, data_type, tuple((f, FeatureRef(v, n)) for f, v, n in rows))


def lineages_of(db: Connection, view: str = "") -> list[Lineage]:
    """Of all views, or of one."""
    readers: defaultdict[FeatureRef, set[tuple[str, int]]] = defaultdict(set)
    for row in db.execute(select(MODEL_INPUTS)).mappings():
        readers[FeatureRef(row["view"], row["feature"])].add((row["model"], row["version"]))
    asked = select(VIEWS, FEATURES.c.name, FEATURES.c.type).join(FEATURES, FEATURES.c.view == VIEWS.c.id)
    asked = asked.order_by(VIEWS.c.position, FEATURES.c.position)
    named = {one: _references(plain) for one, plain in db.execute(select(VIEWS.c.id, VIEWS.c.declaration))}
    found = []
    for row in db.execute(asked.where(VIEWS.c.id == view) if view else asked).mappings():
        declared = read_view(row["declaration"])
        described = {f.name: f.description for f in declared.features}
        ref = FeatureRef(row["id"], row["name"])
        found.append(
            Lineage(
                feature=ref,
                type=FeatureType(row["type"]),
                source=row["source"],
                through=tuple(row["through"]),
                references=tuple(dict.fromkeys(r for v in (row["id"], *row["through"]) for r in named[v])),
                owner=declared.owner,
                description=described[ref.feature] or declared.description,
                readers=tuple(sorted(readers[ref])),
            )
        )
    return found


def _references(declaration: Any) -> list[str]:
    """The references that a view's steps name."""
    return [step.reference for step in read_view(declaration).steps if isinstance(step, Enrichment)]
