"""What is done next in the race, and what is waited for."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from demo.feed import Feed
from demo.race.plan import DATA_TYPE, STAGES, USUAL_MS, Step, plan_text
from demo.race.watch import RaceWatch
from demo.staging import StagedDirector
from demo.workbench import Workbench


class RaceDirector(StagedDirector):
    """`faults` is the file that says whose calls are held up."""

    def __init__(
        self,
        total: int,
        rate: float,
        *,
        feed: Feed,
        watch: RaceWatch,
        bench: Workbench,
        trained: Path,
        models: Path,
        faults: Path,
    ) -> None:
        super().__init__(STAGES, total, rate, feed)
        self._watch, self._bench = watch, bench
        self._trained, self._models, self._faults = trained, models, faults
        self._waiting, self._busy = list(STAGES[0].steps), False
        self.delay_ms = USUAL_MS
        self.plan = 0
        self._hold_up()

    def missing(self) -> list[str]:
        """What has not gone by the plan."""
        return [stage.missing for stage in STAGES if not stage.done(self._watch)]

    def _begin(self) -> None:
        self._waiting = list(STAGES[self.stage].steps)

    def _go_on(self) -> None:
        if self._busy and self._bench.answer() is not None:
            self._busy = False
        if self._waiting and not self._busy:
            self._do(self._waiting.pop(0))

    def _do(self, step: Step) -> None:
        if step.delay_ms:
            self.delay_ms = step.delay_ms
            self._hold_up()
            return
        models, model = str(self._models), step.model
        self._busy = True
        if step.request == "publish_plan":
            self.plan = step.plan
            file = self._faults.with_name(f"plan-{step.plan}.json")
            file.write_text(plan_text(step.plan))
            at = ("--data-type", DATA_TYPE, "--version", str(step.plan), "--to-folder", models)
            self._bench.command("plan", file, *at)
        elif step.request == "unpublish" and model is not None:
            self._bench.command("unpublish", DATA_TYPE, "--name", model.name, "--to-folder", models)
        elif model is not None:
            fields = list(self._feed.sent[DATA_TYPE].data.fields)
            trained = str(self._trained)
            self._bench.ask("publish", model=asdict(model), trained=trained, models=models, fields=fields)

    def _hold_up(self) -> None:
        self._faults.write_text(json.dumps({"deep": self.delay_ms}))

    def _complete(self) -> bool:
        return not self._waiting and not self._busy and STAGES[self.stage].done(self._watch)
