"""What happens when: the models, the experiments between them, and what each stage waits for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from demo.lifecycle.visits import BETTER, DATA_TYPE, FIRST, RETRAINED_NAME, RETRAINED_VERSION, WORSE
from demo.lifecycle.watch import LifeWatch
from schemas.plans.plan import Only, Plan, write_plan
from schemas.results.records import EventKind
from udfs.lifecycle.experiments.declaration import Experiment, read_experiment

DEADLINE_MS = 2000
PLAN_NAME, PLAN_VERSION = "plan", 1
DRIFTING = "minutes"
SERVED = {FIRST.name: FIRST.version, WORSE.name: WORSE.version, BETTER.name: BETTER.version}
SERVED[RETRAINED_NAME] = RETRAINED_VERSION


def first_plan() -> str:
    """The first model alone decides until an experiment says otherwise."""
    return write_plan(Plan(route=Only((FIRST.name,)), deadline_ms=DEADLINE_MS)).decode()


def experiment_text(name: str, control: str, treatment: str) -> str:
    """As a person would write it."""
    return f"""name = "{name}"
data_type = "{DATA_TYPE}"
entity = "customer"
ramp = [0.2, 1.0]        # of half of the customers
step_entities = 40
deadline_ms = {DEADLINE_MS}

[arms.control]
model = "{control}"
version = {SERVED[control]}
[arms.treatment]
model = "{treatment}"
version = {SERVED[treatment]}

[primary]
name = "correct"

[[guardrails]]
name = "failed"
better = "lower"
tolerance = 0.05
"""


@dataclass(frozen=True)
class Trial:
    """An experiment of the demo, and how it must end."""

    name: str
    control: str
    treatment: str
    ends: str

    @property
    def text(self) -> str:
        return experiment_text(self.name, self.control, self.treatment)

    @cached_property
    def declared(self) -> Experiment:
        return read_experiment(self.text)

    def ended(self, watch: LifeWatch) -> bool:
        last = watch.last(self.name)
        if last is None or last.kind not in ("rolled_back", "promoted", "stopped", "refused"):
            return False
        return any((e.name, e.version) == (self.name, last.plan_version) for e in watch.events)


WORSE_TRIAL = Trial("worse-canary", FIRST.name, WORSE.name, "rolled_back")
BETTER_TRIAL = Trial("better-canary", FIRST.name, BETTER.name, "promoted")
RETRAINED_TRIAL = Trial("retrained-canary", BETTER.name, RETRAINED_NAME, "promoted")
TRIALS = (WORSE_TRIAL, BETTER_TRIAL, RETRAINED_TRIAL)


@dataclass(frozen=True, slots=True)
class Stage:
    """It ends when its steps have been taken and `done`. A step is a request to the workbench by name."""

    title: str
    steps: tuple[str, ...]
    done: Callable[[LifeWatch], bool]
    missing: str


def _served(name: str) -> Callable[[LifeWatch], bool]:
    return lambda watch: watch.told(EventKind.SERVED, name)


STAGES = (
    Stage(
        "Flink starts, the first model is published", ("plan", "publish first"), _served("first"), "no model"
    ),
    Stage(
        "a model serves, outcomes come late",
        (),
        lambda watch: watch.accuracy(FIRST.name) is not None,
        "no outcome was joined",
    ),
    Stage(
        "a worse model is published", ("publish worse",), _served("worse"), "the worse model is not served"
    ),
    Stage("it goes on as a canary", ("start worse-canary",), WORSE_TRIAL.ended, "the worse model still runs"),
    Stage("a better model is published", ("publish better",), _served("better"), "the better is not served"),
    Stage(
        "it goes on as a canary", ("start better-canary",), BETTER_TRIAL.ended, "the better is not promoted"
    ),
    Stage("the data drift", ("drift",), lambda watch: watch.drifted(DRIFTING) is not None, "no alert"),
    Stage(
        "the alert trains a third model", ("train", "publish retrained"), _served("retrained"), "none trained"
    ),
    Stage("it goes on as a canary", ("start retrained-canary",), RETRAINED_TRIAL.ended, "it is not promoted"),
    Stage("the third model serves", ("linger",), lambda watch: True, ""),
)
SHORT = (
    "first",
    "late outcomes",
    "",
    "worse canary",
    "",
    "better canary",
    "drift",
    "",
    "retrained canary",
    "third",
)
"""What predictions of a stage are audited as; empty: not."""
