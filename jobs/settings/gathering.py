"""The settings of micro-batches."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jobs.settings.run import Part
from udfs.io.gathering import Gathering

_DEFAULTS = {
    "thread": Gathering(max_records=1024, min_ms=3, max_ms=50),
    # A round trip to the worker process costs milliseconds: more records share it.
    "process": Gathering(max_records=8192, min_ms=20, max_ms=100),
}


_MOST = 1 << 30


class Batching(Part):
    """When a micro-batch is closed. Empty values depend on `mode`."""

    max_records: int | None = Field(
        None,
        ge=1,
        le=_MOST,
        description="the most records of a micro-batch; empty: 1024, in process mode 8192",
    )
    max_bytes: int = Field(
        4 << 20, ge=1, le=_MOST, description="the most bytes of one, but for its last record"
    )
    min_ms: int | None = Field(
        None,
        ge=1,
        description="the least time between two that are not full; empty: 3, in process mode and of "
        "jobs/speculate.py 20",
    )
    max_ms: int | None = Field(
        None, ge=1, description="the longest that one gathers while the next operator is busy; empty: 50, 100"
    )

    def gathering(self, mode: Literal["thread", "process"]) -> Gathering:
        usual = _DEFAULTS[mode]
        return Gathering(
            self.max_records or usual.max_records,
            self.max_bytes,
            self.min_ms or usual.min_ms,
            self.max_ms or usual.max_ms,
        )
