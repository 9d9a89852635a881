"""The registry's questions and answers; `udfs.stores.registry.sql` keeps it in a file (SQLite) or in
PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.features.declarations import FeatureType


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
