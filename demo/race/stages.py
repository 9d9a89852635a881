"""What happens when in the race."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from demo.director import Stage
from demo.race.plan import CANDIDATES, DATA_TYPE, DEEP, SLOW_MS, USUAL_MS, plan_text
from demo.race.watch import RaceWatch
from demo.trained import TrainedModels
from schemas.results.records import EventKind


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
