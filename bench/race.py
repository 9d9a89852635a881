"""`jobs/speculate.py` under measurement: three SavedModels race, and fault injection holds one of them up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.model import descriptor
from bench.subjects import JobSpec, ServingJob
from bench.workload import DATA_TYPE, Topics
from schemas.results.records import EventKind
from udfs.models.descriptor import DECIDE, build

CANDIDATES = ("first", "second", "third")
DEADLINE_MS = 100
_PLAN = {
    "deadline_ms": DEADLINE_MS,
    # Only all three together decide before the deadline, so that whoever is slow is waited for.
    "policy": {
        "policy": "mean",
        "output": "score",
        "least": len(CANDIDATES),
        "otherwise": {"policy": "mean", "output": "score", "least": 1},
    },
}
# `ok`: nobody is held up. `stuck`: one candidate for 5 s on every call. `slow`: one for 80 ms on every call.
Case = Literal["ok", "stuck", "slow"]
CASES: dict[Case, dict[str, int]] = {"ok": {}, "stuck": {CANDIDATES[-1]: 5000}, "slow": {CANDIDATES[-1]: 80}}


@dataclass(frozen=True, slots=True)
class RaceSpec:
    """`slots`: where the executor runs, as the job's setting of that name says. One slot a task manager.

    `parallelism`: as in `JobSpec`.
    """

    slots: Literal["shared", "apart"] = "shared"
    parallelism: int = 1


class SpeculateJob(ServingJob):
    """The speculating job on a cluster of its own. `models`: one a candidate; `folder`: for its faults."""

    mark = b'"rule":"mean"'

    def __init__(self, topics: Topics, models: Sequence[Path], spec: RaceSpec, folder: Path) -> None:
        job = JobSpec("speculate.py", parallelism=spec.parallelism)
        super().__init__(topics, models[0], job, 1 if spec.slots == "shared" else 2)
        self._models, self._race = models, spec
        self._faults = folder / f"faults-{topics.prefix}.json"

    def hold_up(self, case: Case) -> None:
        """From now on candidates are held up as the case says. The job sees it within a second."""
        written = self._faults.with_suffix(".new")
        written.write_text(json.dumps(CASES[case]))
        written.replace(self._faults)  # never seen half written

    def publications(self) -> list[bytes]:
        plan = build(data_type=DATA_TYPE, operation=DECIDE, version=1, plan=json.dumps(_PLAN))
        named = enumerate(zip(self._models, CANDIDATES, strict=True), 1)
        return [plan, *(descriptor(model, version, name=name) for version, (model, name) in named)]

    def wait_ready(self) -> None:
        served = {(EventKind.SERVED, DATA_TYPE, version) for version, _ in enumerate(CANDIDATES, 1)}
        self.wait_told({(EventKind.DECIDES, DATA_TYPE, 1), *served})

    def settings(self) -> dict[str, str]:
        return super().settings() | {
            "executors.model-types": json.dumps(["TENSORFLOWSAVED"]),
            "executors.slots": self._race.slots,
            "executors.fault-injection": str(self._faults),
        }
