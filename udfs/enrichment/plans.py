"""What models read, resolved against the registry and kept for a while."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from schemas.errors import RegistryError, StoreError
from schemas.features.declarations import FeatureType
from udfs.enrichment.base import PredictionRequest
from udfs.stores.online.base import StoredView
from udfs.stores.registry.base import FeatureRef, OnDemand
from udfs.stores.registry.sql import SqlRegistry

_REFRESH_MS = 30_000
_UNKNOWN_MS = 2_000
_MOST_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Need:
    """One view of a model: its features that are read, and who makes them on demand."""

    view: StoredView
    version: int
    features: tuple[str, ...]
    on_demand: OnDemand | None

    def entity(self, request: PredictionRequest) -> tuple[str | int, ...]:
        """The request's entity in this view. Raises `ValueError` where it lacks a key or has another type."""
        return tuple(_key(request, name, kind) for name, kind in self.view.entity)


@dataclass(frozen=True, slots=True)
class VectorPlan:
    """What one version of a model reads."""

    data_type: str
    inputs: tuple[tuple[str, FeatureRef], ...]
    needs: Mapping[str, Need]


class Plans:
    """The registry is asked once a model, again after half a minute, and what it said before stands while it
    is away: models may be registered, and creators changed, while a job runs.

    `views`: those that the job can read, by id; `made`: of these, those it can store what was created of.
    """

    def __init__(self, registry: SqlRegistry, views: Mapping[str, StoredView], made: Collection[str]) -> None:
        self._registry, self._views, self._made = registry, views, made
        self._kept: dict[tuple[str, int], tuple[VectorPlan | RegistryError, int]] = {}

    def plan(self, model: str, version: int, now: int) -> VectorPlan:
        """Raises `RegistryError` for a model that is not known, `StoreError` where the registry is away."""
        kept, until = self._kept.get((model, version), (None, 0))
        if kept is None or now >= until:
            kept, until = self._asked(model, version, kept, now)
            self._kept[model, version] = (kept, until)
            if len(self._kept) > _MOST_KEPT:  # anybody may ask for models that are not there
                self._kept = {k: one for k, one in self._kept.items() if isinstance(one[0], VectorPlan)}
        if isinstance(kept, RegistryError):
            raise kept
        return kept

    def _asked(
        self, model: str, version: int, known: VectorPlan | RegistryError | None, now: int
    ) -> tuple[VectorPlan | RegistryError, int]:
        try:
            return self._resolved(model, version), now + _REFRESH_MS
        except RegistryError as e:
            return e, now + _UNKNOWN_MS
        except StoreError:
            if not isinstance(known, VectorPlan):
                raise
            return known, now + _UNKNOWN_MS

    def _resolved(self, model: str, version: int) -> VectorPlan:
        read = self._registry.model(model, version)
        names: dict[str, dict[str, None]] = {}
        for _, ref in read.inputs:
            names.setdefault(ref.view, {})[ref.feature] = None
        for view in names:
            if view not in self._views:
                raise RegistryError(
                    f"model {model!r} reads view {view}, which was registered after the job had started: "
                    "restart the job"
                )
        needs = {
            view: Need(
                self._views[view],
                self._registry.view(view).version,
                tuple(features),
                self._registry.on_demand(view) if view in self._made else None,
            )
            for view, features in names.items()
        }
        return VectorPlan(read.data_type, read.inputs, needs)


def _key(request: PredictionRequest, name: str, kind: FeatureType) -> str | int:
    value = request.entities.get(name)
    if value is None:
        raise ValueError(f"entities must have {name!r}, which {request.model} reads features of")
    if isinstance(value, str) is not (kind is FeatureType.STRING):
        raise ValueError(f"entity {name!r} is {type(value).__name__} where {kind.value} belongs")
    return value
