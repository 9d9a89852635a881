"""Who races, what decides, and what happens when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from demo.director import Stage
from demo.plan import Planned
from demo.race.watch import RaceWatch
from demo.trained import TrainedModels
from schemas.results.records import EventKind

DATA_TYPE = "wine"
LINEAR = Planned(DATA_TYPE, 1, "PMML", "wine-v4.pmml", "logistic regression", name="linear")
SMALL = Planned(DATA_TYPE, 2, "SavedModel", "wine-v1", "softmax of 3 fields", fields=3, name="small")
DEEP = Planned(DATA_TYPE, 3, "frozen graph", "wine-v2.pb", "network 13-8-3", name="deep")
CANDIDATES = (LINEAR, SMALL, DEEP)
"""Versions differ, so that each tells who made a result."""

MODEL_TYPES = ("PMML", "TENSORFLOWSAVED", "TENSORFLOW")
DEADLINE_MS = 250
USUAL_MS, SLOW_MS = 20, 600
"""By how much the calls of the deep model are held up, by the file of `executors.fault_injection`."""

PLANS: Mapping[int, dict[str, Any]] = {
    1: {
        "policy": {"policy": "prefer", "candidates": ["deep", "linear", "small"]},
        "deadline_ms": DEADLINE_MS,
    },
    2: {"policy": {"policy": "first"}, "deadline_ms": DEADLINE_MS},
}
ABOUT_PLANS = {1: "deep if it is in time, else linear, else small", 2: "the first answer"}


def plan_text(version: int) -> str:
    return json.dumps(PLANS[version])


@dataclass(slots=True)
class RaceSteps:
    """What is done in the race. `faults` is the file that says whose calls are held up, by `delay_ms`."""

    models: TrainedModels
    faults: Path
    delay_ms: int = 0
    plan: int = 0

    def __post_init__(self) -> None:
        self.hold_up(USUAL_MS)

    def hold_up(self, delay_ms: int) -> None:
        """The calls of the deep model."""
        self.delay_ms = delay_ms
        self.faults.write_text(json.dumps({DEEP.name: delay_ms}))

    def decide_by(self, plan: int) -> None:
        """Publish the plan of this version."""
        self.plan = plan
        file = self.faults.with_name(f"plan-{plan}.json")
        file.write_text(plan_text(plan))
        self._command("plan", file, "--data-type", DATA_TYPE, "--version", str(plan))

    def unpublish_deep(self) -> None:
        self._command("unpublish", DATA_TYPE, "--name", DEEP.name)

    def _command(self, *arguments: str | Path) -> None:
        self.models.bench.command(*arguments, "--to-folder", self.models.models)


def stages_of(steps: RaceSteps, watch: RaceWatch) -> tuple[Stage, ...]:
    told, tallies = watch.served.told, watch.tallies
    return (
        Stage(
            "a plan and three models are published",
            (partial(steps.decide_by, 1), *(partial(steps.models.publish, one) for one in CANDIDATES)),
            lambda: told(EventKind.DECIDES, 1) and all(told(EventKind.SERVED, c.version) for c in CANDIDATES),
            "a candidate is not served, or the plan not in force",
        ),
        Stage(
            "the deep model decides",
            (),
            lambda: tallies["deep"].wins > 0,
            "the deep model has decided nothing",
            0.25,
        ),
        Stage(
            f"the deep model gets slow: {SLOW_MS} ms a call",
            (partial(steps.hold_up, SLOW_MS),),
            lambda: tallies["deep"].late > 0 and tallies["linear"].wins > 0,
            "the deep model was not late, or the linear one did not decide instead",
            0.25,
        ),
        Stage(
            "another plan: the first answer decides",
            (partial(steps.decide_by, 2),),
            lambda: told(EventKind.DECIDES, 2),
            "the second plan is not in force",
            0.25,
        ),
        Stage(
            "the deep model is withdrawn",
            (steps.unpublish_deep,),
            lambda: told(EventKind.WITHDRAWN, DEEP.version) and watch.without(DEEP.name) > 0,
            "the deep model is still asked",
            0.25,
        ),
    )
