"""The first plan, and the experiments between the models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from demo.lifecycle.visits import BETTER, DATA_TYPE, FIRST, RETRAINED_NAME, RETRAINED_VERSION, WORSE
from demo.lifecycle.watch import LifeWatch
from schemas.plans.plan import Only, Plan, write_plan
from udfs.lifecycle.experiments.declaration import Experiment, read_experiment

DEADLINE_MS = 2000
PLAN_VERSION = 1
DRIFTING = "minutes"
SERVED = {FIRST.name: FIRST.version, WORSE.name: WORSE.version, BETTER.name: BETTER.version}
SERVED[RETRAINED_NAME] = RETRAINED_VERSION


def first_plan() -> str:
    """The first model alone decides until an experiment says otherwise."""
    return write_plan(Plan(route=Only((FIRST.name,)), deadline_ms=DEADLINE_MS)).decode()


@dataclass(frozen=True)
class Trial:
    """An experiment of the demo, and how it must end."""

    name: str
    control: str
    treatment: str
    ends: str

    @property
    def text(self) -> str:
        """As a person would write it."""
        return f"""name = "{self.name}"
data_type = "{DATA_TYPE}"
entity = "customer"
ramp = [0.2, 1.0]        # of half of the customers
step_entities = 40
deadline_ms = {DEADLINE_MS}

[arms.control]
model = "{self.control}"
version = {SERVED[self.control]}
[arms.treatment]
model = "{self.treatment}"
version = {SERVED[self.treatment]}

[primary]
name = "correct"

[[guardrails]]
name = "failed"
better = "lower"
tolerance = 0.05
"""

    @cached_property
    def declared(self) -> Experiment:
        return read_experiment(self.text)

    def ended(self, watch: LifeWatch) -> bool:
        last = watch.last(self.name)
        if last is None or last.kind not in ("rolled_back", "promoted", "stopped", "refused"):
            return False
        return any((e.name, e.version) == (self.name, last.plan_version) for e in watch.served.events)


WORSE_TRIAL = Trial("worse-canary", FIRST.name, WORSE.name, "rolled_back")
BETTER_TRIAL = Trial("better-canary", FIRST.name, BETTER.name, "promoted")
RETRAINED_TRIAL = Trial("retrained-canary", BETTER.name, RETRAINED_NAME, "promoted")
TRIALS = (WORSE_TRIAL, BETTER_TRIAL, RETRAINED_TRIAL)


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
