"""The registry in a database, by SQLAlchemy's expression language."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, insert, select

from schemas.errors import FeatureError, RegistryError
from schemas.features.declarations import Declarations, FeatureView
from schemas.features.rules import check, order
from udfs.stores.online.base import StoredView
from udfs.stores.registry.base import FeatureRef, Lineage, ModelInputs, OnDemand
from udfs.stores.registry.database import Database
from udfs.stores.registry.rows import (
    add_view,
    describe_view,
    lineages_of,
    model_inputs,
    no_view,
    read_all,
    read_view,
    replace_declared,
    stored_of,
    stored_view,
)
from udfs.stores.registry.rules import check_model, check_on_demand, merged, path_to_source
from udfs.stores.registry.tables import MODEL_INPUTS, MODELS, ON_DEMAND, REFERENCES, SOURCES, VIEWS


class SqlRegistry:
    """`url`: see `udfs.stores.registry.DEFAULT_URL`.

    Names are unique; what is registered under a view's version never changes: other features need another
    version. All raise `RegistryError` (unknown name, changed content), `StoreError` (database away). May be
    used from several threads and processes at once.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def apply(self, declared: Declarations) -> Sequence[str]:
        """Check and store declarations; the ids of the views that are new. The same again changes nothing."""
        with self._database.writing() as db:
            known = read_all(db)
            whole = merged(known, declared)
            try:
                check(whole)
            except FeatureError as e:
                raise RegistryError(
                    f"with these declarations the registry would contradict itself: {e}"
                ) from e
            for view in known.views:
                if stored_of(view, whole) != stored_view(db, view.id):
                    raise RegistryError(
                        f"a source of view {view.id} would change the types of its features: keep them, or "
                        "declare a source of another name and a new version of the view"
                    )
            replace_declared(db, SOURCES, whole.sources)
            replace_declared(db, REFERENCES, whole.references)
            new = {v.id for v in whole.views} - {v.id for v in known.views}
            views = {v.id: v for v in whole.views}
            for view in known.views:
                if views[view.id] != view:
                    describe_view(db, views[view.id])
            ordered = [view for view in order(whole) if view.id in new]
            for position, view in enumerate(ordered, len(known.views)):
                add_view(db, position, view, path_to_source(view, views), stored_of(view, whole))
        return [view.id for view in ordered]

    def declarations(self) -> Declarations:
        with self._database.reading() as db:
            return read_all(db)

    def view(self, view: str) -> FeatureView:
        with self._database.reading() as db:
            found = db.execute(select(VIEWS.c.declaration).where(VIEWS.c.id == view)).scalar()
        if found is None:
            raise no_view(view)
        return read_view(found)

    def stored(self, view: str) -> StoredView:
        with self._database.reading() as db:
            return stored_view(db, view)

    def put_model(self, inputs: ModelInputs) -> None:
        """What a version above 0 reads never changes; version 0 is replaced."""
        with self._database.writing() as db:
            check_model(inputs, {ref.view: stored_view(db, ref.view) for _, ref in inputs.inputs})
            known = model_inputs(db, inputs.model, inputs.version)
            if known == inputs:
                return
            if known is not None and inputs.version:
                raise RegistryError(
                    f"version {inputs.version} of model {inputs.model} is registered with other inputs: give "
                    "a version of its own to what reads other features"
                )
            name = {"model": inputs.model, "version": inputs.version}
            for table in (MODEL_INPUTS, MODELS):
                one = (table.c.model == inputs.model) & (table.c.version == inputs.version)
                db.execute(delete(table).where(one))
            db.execute(insert(MODELS).values(**name, data_type=inputs.data_type))
            rows = [
                {**name, "position": n, "field": field, "view": ref.view, "feature": ref.feature}
                for n, (field, ref) in enumerate(inputs.inputs)
            ]
            db.execute(insert(MODEL_INPUTS), rows)

    def model(self, model: str, version: int = 0) -> ModelInputs:
        """Of that version, else of version 0; asked for 0 where there is none, of the greatest version."""
        with self._database.reading() as db:
            found = model_inputs(db, model, version) or model_inputs(db, model, 0)
            if found is None:
                versions = sorted(
                    db.execute(select(MODELS.c.version).where(MODELS.c.model == model)).scalars()
                )
                found = model_inputs(db, model, versions[-1]) if versions and not version else None
        if found is None:
            what = f"version {version} of model {model!r}" if versions else f"model {model!r}"
            raise RegistryError(
                f"the registry does not know what {what} reads: `millrace features model` says it"
            )
        return found

    def put_on_demand(self, creator: OnDemand) -> None:
        """Replaces the view's creator."""
        with self._database.writing() as db:
            check_on_demand(creator, stored_view(db, creator.view))
            db.execute(delete(ON_DEMAND).where(ON_DEMAND.c.view == creator.view))
            db.execute(insert(ON_DEMAND).values(view=creator.view, declaration=msgspec.to_builtins(creator)))

    def on_demand(self, view: str) -> OnDemand | None:
        with self._database.reading() as db:
            stored_view(db, view)
            found = db.execute(select(ON_DEMAND.c.declaration).where(ON_DEMAND.c.view == view)).scalar()
        return None if found is None else msgspec.convert(found, OnDemand)

    def lineage(self, feature: FeatureRef) -> Lineage:
        with self._database.reading() as db:
            view = stored_view(db, feature.view)
            found = lineages_of(db, feature.view)
        one = next((lineage for lineage in found if lineage.feature == feature), None)
        if one is None:
            names = ", ".join(name for name, _ in view.features)
            raise RegistryError(f"view {feature.view} has no feature {feature.feature!r}; it has {names}")
        return one

    def lineages(self) -> Sequence[Lineage]:
        """Of every feature, in the order of views and features."""
        with self._database.reading() as db:
            return lineages_of(db)

    def close(self) -> None:
        self._database.close()
