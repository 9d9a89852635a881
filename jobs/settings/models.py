"""The settings that bound what models, and who publishes them, may take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from jobs.settings.run import Part
from udfs.models.quotas import Quotas
from udfs.models.sandbox.limits import SandboxLimits
from udfs.models.sandbox.loader import Isolation


class VersionLimits(Part):
    """Which versions come in."""

    version_jump: int | None = Field(
        None, ge=1, description="by how much a version may be above the newest of its name; empty: by any"
    )


class ModelLimits(VersionLimits):
    """Where models are checked and run, and how much they may ask for."""

    check: bool = Field(True, description="try each model in a process that may die before it is loaded")
    isolation: Literal["thread", "process"] = Field(
        "thread", description="process: keep each model in a process of its own, for strangers' models"
    )
    restarts: int = Field(3, ge=0, description="isolated: how often such a process is started again")
    check_seconds: float = Field(
        30, gt=0, description="the longest check, by the clock and in processor time"
    )
    check_memory_mb: int = Field(4096, ge=64, description="address space that a check may add")
    loaded_mb: int = Field(1024, ge=1, description="memory that a loaded model may take")
    attempts: int = Field(2, ge=1, description="checks without an outcome after which a version is set aside")
    call_seconds: float = Field(5, gt=0, description="a call that takes longer is given up: its records fail")
    patience_ms: float = Field(
        50, ge=0, description="a call that takes longer holds up its own data type only"
    )
    unresponsive: int = Field(2, ge=1, description="such calls in ten minutes, after which it is unpublished")
    candidates: int = Field(32, ge=1, description="speculation: names that are published, a data type")
    pending: int = Field(16, ge=1, description="publications that wait to be loaded, a data type")
    pending_mb: int = Field(64, ge=1, description="and their size together")
    new_types: bool | None = Field(
        None,
        description="take models for data types that no setting names; empty: where headers or folders do",
    )
    most_new_types: int = Field(64, ge=1, description="the most of them, at each instance")

    def quotas(self, types: Iterable[str], open_ended: bool) -> Quotas:
        """`types`: the data types that settings name; `open_ended`: others may come by headers or folders."""
        any_type = open_ended if self.new_types is None else self.new_types
        return Quotas(
            types=frozenset(types),
            new_types=self.most_new_types if any_type else 0,
            candidates=self.candidates,
            pending=self.pending,
            pending_bytes=self.pending_mb << 20,
            attempts=self.attempts,
            unresponsive=self.unresponsive,
            call_seconds=self.call_seconds,
            patience_ms=self.patience_ms,
            version_jump=self.version_jump,
        )

    def where(self) -> Isolation:
        """Where models are checked and run."""
        limits = SandboxLimits(
            memory_bytes=self.check_memory_mb << 20,
            loaded_bytes=self.loaded_mb << 20,
            cpu_seconds=max(int(self.check_seconds), 1),
            deadline_seconds=self.check_seconds,
        )
        return Isolation(self.isolation, self.check, self.restarts, limits)
