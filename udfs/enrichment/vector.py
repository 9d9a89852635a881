"""One open request and what is known of its vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from udfs.enrichment.base import Completed, Expired, FeatureStamp, PredictionRequest
from udfs.enrichment.plans import Need, Plans, VectorPlan

Entity = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class FoundRow:
    """Values of one view's features for one entity. `event_time`: epoch milliseconds."""

    event_time: int
    values: Mapping[str, Any]
    on_demand: bool = False


@dataclass(slots=True, eq=False)
class OpenRequest:
    """`missing`: view -> why it has no row yet. `reason`: what could not be asked."""

    key: str
    name: str
    request: PredictionRequest
    deadline: int
    entities: dict[str, Entity] = field(default_factory=dict)
    found: dict[str, FoundRow] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    plan: VectorPlan | None = None

    def plan_by(self, plans: Plans, now: int) -> None:
        """Raises as `Plans.plan` and `Need.entity` do."""
        plan = plans.plan(self.request.model, self.request.version, now)
        self.entities = {view: need.entity(self.request) for view, need in plan.needs.items()}
        self.plan = plan

    def needs(self) -> Mapping[str, Need]:
        return self.plan.needs if self.plan else {}

    def missing_needs(self) -> Iterator[Need]:
        return (self.needs()[view] for view in self.missing)

    def fill(self, view: str, row: FoundRow) -> None:
        self.found[view] = row
        self.missing.pop(view, None)

    def completed(self, now: int) -> Completed:
        """To be called when nothing is missing."""
        assert self.plan is not None and not self.missing
        record: dict[str, Any] = {**self.request.fields, "id": self.request.id}
        stamps = []
        for name, ref in self.plan.inputs:
            row = self.found[ref.view]
            record[name] = value = row.values[ref.feature]
            age = max(0, now - row.event_time)
            stamps.append(
                FeatureStamp(str(ref), self.plan.needs[ref.view].version, value, age, row.on_demand)
            )
        return Completed(self.request, self.plan.data_type, record, tuple(stamps))

    def late(self) -> Expired:
        return Expired(self.request, reason="the last of its features came too late")

    def expired(self) -> Expired:
        refs = self.plan.inputs if self.plan else ()
        missing = {str(ref): self.missing[ref.view] for _, ref in refs if ref.view in self.missing}
        return Expired(self.request, missing, self.reason)
