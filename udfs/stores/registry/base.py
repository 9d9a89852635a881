"""The registry's questions and answers; `udfs.stores.registry.sql` keeps it in a file (SQLite) or in
PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.features.declarations import Declarations, FeatureType, FeatureView
from udfs.stores.online.base import StoredView


@dataclass(frozen=True, slots=True)
class FeatureRef:
    """One feature of one version of a view. Text form: `VIEW_vVERSION:FEATURE`."""

    view: str
    feature: str

    def __str__(self) -> str:
        return f"{self.view}:{self.feature}"


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """What a model reads: input field -> feature, in the model's order. `model` is the descriptor's name,
    `version` 0 stands for every version. `data_type`: of the scoring input that it reads."""

    model: str
    version: int
    data_type: str
    inputs: tuple[tuple[str, FeatureRef], ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a feature comes from. `through`: views between it and the stream, the nearest first;
    `references`: those that its view or one of these is enriched by; `readers`: (model, version)."""

    feature: FeatureRef
    type: FeatureType
    source: str
    through: tuple[str, ...]
    owner: str
    description: str
    readers: tuple[tuple[str, int], ...]
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OnDemand:
    """A creator for one view: called where its row is missing or expired.

    `url`: asked by POST with the entity as a JSON object; `paths`: feature -> JMESPath expression over the
    JSON answer. `timeout_ms` bounds one call, `concurrency` the calls at once of one task.
    """

    view: str
    url: str
    paths: tuple[tuple[str, str], ...]
    timeout_ms: int = 200
    concurrency: int = 16


class Registry(Protocol):
    """Names are unique; what is registered under a view's version never changes: other features need another
    version. All raise `RegistryError` (unknown name, changed content), `StoreError` (database away). May be
    used from several threads and processes at once."""

    def apply(self, declared: Declarations) -> Sequence[str]:
        """Check and store declarations; the ids of the views that are new. The same again changes nothing."""
        ...

    def declarations(self) -> Declarations: ...

    def view(self, view: str) -> FeatureView: ...

    def stored(self, view: str) -> StoredView: ...

    def put_model(self, inputs: ModelInputs) -> None:
        """What a version above 0 reads never changes; version 0 is replaced."""
        ...

    def model(self, model: str, version: int = 0) -> ModelInputs:
        """Of that version, else of version 0; asked for 0 where there is none, of the greatest version."""
        ...

    def put_on_demand(self, creator: OnDemand) -> None:
        """Replaces the view's creator."""
        ...

    def on_demand(self, view: str) -> OnDemand | None: ...

    def lineage(self, feature: FeatureRef) -> Lineage: ...

    def lineages(self) -> Sequence[Lineage]:
        """Of every feature, in the order of views and features."""
        ...

    def close(self) -> None: ...
