"""The settings of `jobs/speculate.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

from pydantic import Field, model_validator

from jobs.settings.run import Part
from jobs.settings.serve import JobSettings
from udfs.ensemble.collection.collector_spec import CollectorSpec
from udfs.ensemble.execution.executor_spec import ExecutorSpec
from udfs.ensemble.execution.worker import CallLimits
from udfs.ensemble.routing.router_spec import RouterSpec
from udfs.io.gathering import Gathering
from udfs.models.model_store import StoreSpec
from udfs.models.runtimes.catalogue import MODEL_TYPES

_MIN_MS = 20


class Executors(Part):
    """Model executors, one operator a model type."""

    model_types: tuple[str, ...] = Field(
        MODEL_TYPES, description="an operator each; the one that most requests go to first"
    )
    parallelism: int | None = Field(None, ge=1, description="of each of them; empty: as the other operators")
    slots: Literal["shared", "apart"] = Field(
        "shared", description="apart: each in slots of its own, and as many more are needed"
    )
    patience_ms: float = Field(5, ge=0, description="how long candidates not known to be slow are waited for")
    call_timeout_ms: float = Field(5000, gt=0, description="a call that takes longer is abandoned")
    max_abandoned: int = Field(2, ge=0, description="threads of a candidate that may be stuck at once")
    fault_injection: str = Field("", description="a JSON file, candidate -> ms by which calls are held up")


class SpeculateSettings(JobSettings):
    """Let several models race for each record, and decide by deadline, vote or quality."""

    name: str = Field("millrace-speculate", description="the job's name")
    executors: Executors = Executors.model_validate({})
    linger_seconds: float = Field(
        10, gt=0, description="how long after its deadline an answer is still counted as late"
    )

    @property
    def gathering(self) -> Gathering:
        """A micro-batch crosses four operators and a thread for each candidate, so fewer of them leave."""
        usual = super().gathering
        return usual if self.batch.min_ms else replace(usual, min_ms=max(usual.min_ms, _MIN_MS))

    @model_validator(mode="after")
    def _some_executor(self) -> Self:
        types = self.executors.model_types
        if not types or len(set(types)) < len(types):
            raise ValueError("executors.model_types must name at least one model type, and none twice")
        if unknown := [t for t in types if t not in MODEL_TYPES]:
            raise ValueError(
                f"executors.model_types names {unknown[0]!r}; known are {', '.join(MODEL_TYPES)}"
            )
        return self

    def router(self) -> RouterSpec:
        return RouterSpec(
            main=self.executors.model_types[0],
            codec=self.codec,
            buffer=self.buffer,
            max_batch=self.max_batch,
            quotas=self.quotas(),
        )

    def executor(self, model_type: str, store: StoreSpec) -> ExecutorSpec:
        own = self.executors
        limits = CallLimits(own.patience_ms, own.call_timeout_ms, own.max_abandoned)
        return ExecutorSpec(model_type, self.scoring(store), limits, own.fault_injection or None)

    def collector(self) -> CollectorSpec:
        return CollectorSpec(self.codec, int(self.linger_seconds * 1000), int(self.stats_seconds * 1000))
