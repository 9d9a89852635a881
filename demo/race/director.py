"""Stage after stage: how many records are due, what is done next, and what is waited for."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from demo.feed import Feed
from demo.pace import Pace
from demo.race.plan import DATA_TYPE, STAGES, USUAL_MS, Step, plan_text
from demo.race.watch import RaceWatch
from demo.workbench import Workbench


class RaceDirector:
    """`step` is called often and never blocks. `faults` is the file that says whose calls are held up."""

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
        self.total, self._pace = total, Pace(rate)
        self._feed, self._watch, self._bench = feed, watch, bench
        self._trained, self._models, self._faults = trained, models, faults
        self._at, self._waiting, self._busy = 0, list(STAGES[0].steps), False
        self.delay_ms = USUAL_MS
        self.plan = 0
        self._hold_up()

    @property
    def stage(self) -> int:
        return self._at

    @property
    def written(self) -> int:
        return self._feed.count

    @property
    def finished(self) -> bool:
        """All records are written, and all has been done."""
        return self._at == len(STAGES) - 1 and self._feed.count >= self.total and self._complete()

    def missing(self) -> list[str]:
        """What has not gone by the plan."""
        return [stage.missing for stage in STAGES if not stage.done(self._watch)]

    def step(self, now: float) -> None:
        """Write what is due at `now` (seconds), and go on with the steps. Raises `WorkbenchError`."""
        if self._busy and self._bench.answer() is not None:
            self._busy = False
        if self._waiting and not self._busy:
            self._do(self._waiting.pop(0))
        last = self._at == len(STAGES) - 1
        end = self.total if last else round(self.total * sum(s.share for s in STAGES[: self._at + 1]))
        left, complete = end - self._feed.count, self._complete()
        if complete and left <= 0 and not last:
            self._at += 1
            self._waiting = list(STAGES[self._at].steps)
        elif count := self._pace.due(now, left, hold=not complete):
            self._feed.write(count)

    def _do(self, step: Step) -> None:
        if step.delay_ms:
            self.delay_ms = step.delay_ms
            self._hold_up()
            return
        models, model = str(self._models), step.model
        self._busy = True
        if step.request == "publish_plan":
            self.plan = step.plan
            text = plan_text(step.plan)
            self._bench.ask("publish_plan", data_type=DATA_TYPE, version=step.plan, plan=text, models=models)
        elif step.request == "unpublish" and model is not None:
            self._bench.ask("unpublish", data_type=DATA_TYPE, name=model.name, models=models)
        elif model is not None:
            fields = list(self._feed.sent[DATA_TYPE].data.fields)
            trained = str(self._trained)
            self._bench.ask("publish", model=asdict(model), trained=trained, models=models, fields=fields)

    def _hold_up(self) -> None:
        self._faults.write_text(json.dumps({"deep": self.delay_ms}))

    def _complete(self) -> bool:
        return not self._waiting and not self._busy and STAGES[self._at].done(self._watch)
