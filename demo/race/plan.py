"""Who races, what decides, and what happens when."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from demo.plan import Planned
from demo.race.watch import RaceWatch
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


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: a request to the workbench with its arguments, or by how much calls are held up."""

    request: str = ""
    model: Planned | None = None
    plan: int = 0
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """`share` of all records flow in it. It ends when they have been written and `done`, after its steps."""

    title: str
    share: float
    steps: tuple[Step, ...]
    done: Callable[[RaceWatch], bool]
    missing: str
    """What has not happened where it is not done."""


def _all_serve(watch: RaceWatch) -> bool:
    return watch.told(EventKind.DECIDES, 1) and all(
        watch.told(EventKind.SERVED, candidate.version) for candidate in CANDIDATES
    )


STAGES = (
    Stage(
        "a plan and three models are published",
        0.0,
        (Step("publish_plan", plan=1), *(Step("publish", model=c) for c in CANDIDATES)),
        _all_serve,
        "a candidate is not served, or the plan not in force",
    ),
    Stage(
        "the deep model decides",
        0.25,
        (),
        lambda watch: watch.tallies["deep"].wins > 0,
        "the deep model has decided nothing",
    ),
    Stage(
        f"the deep model gets slow: {SLOW_MS} ms a call",
        0.25,
        (Step(delay_ms=SLOW_MS),),
        lambda watch: watch.tallies["deep"].late > 0 and watch.tallies["linear"].wins > 0,
        "the deep model was not late, or the linear one did not decide instead",
    ),
    Stage(
        "another plan: the first answer decides",
        0.25,
        (Step("publish_plan", plan=2),),
        lambda watch: watch.told(EventKind.DECIDES, 2),
        "the second plan is not in force",
    ),
    Stage(
        "the deep model is withdrawn",
        0.25,
        (Step("unpublish", model=DEEP),),
        lambda watch: watch.told(EventKind.WITHDRAWN, DEEP.version) and watch.without(DEEP.name) > 0,
        "the deep model is still asked",
    ),
)
