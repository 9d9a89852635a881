"""Stage after stage: what is done next, and what is waited for, while visits go on."""

from __future__ import annotations

import time
from pathlib import Path

from demo.lifecycle.feed import VisitFeed
from demo.lifecycle.plan import PLAN_VERSION, STAGES, TRIALS, first_plan
from demo.lifecycle.train import read_trained
from demo.lifecycle.visits import BETTER, DATA_TYPE, FIRST, RETRAINED_NAME, RETRAINED_VERSION, WORSE, Model
from demo.lifecycle.watch import LifeWatch
from demo.workbench import Workbench

_LINGER_S = 4.0
_EVERY_S = 0.2


class LifeDirector:
    """Visits begin once the first model serves. `step` is called often and never blocks.

    `models`: name -> as published so far."""

    def __init__(
        self, rate: float, *, feed: VisitFeed, watch: LifeWatch, bench: Workbench, models: Path, files: Path
    ) -> None:
        self._rate, self._feed, self._watch, self._bench = rate, feed, watch, bench
        self._folder, self._files = models, files
        self.trained = files / "retrained.json"
        """What the training command writes."""
        self.at, self._waiting, self._until = 0, list(STAGES[0].steps), 0.0
        self.models: dict[str, Model] = {}
        self._wrote = 0.0

    @property
    def written(self) -> int:
        return len(self._feed.sent)

    @property
    def finished(self) -> bool:
        """All has been done, and the outcomes of all visits are written."""
        return self._over and not self._feed.outstanding

    @property
    def _over(self) -> bool:
        return self.at == len(STAGES) - 1 and not self._waiting and time.monotonic() > self._until

    def missing(self) -> list[str]:
        """What has not gone by the plan."""
        return [stage.missing for stage in STAGES if not stage.done(self._watch)]

    def step(self, now: float) -> None:
        """Write what is due at `now` (seconds), and go on with the steps. Raises `WorkbenchError`."""
        if self._bench.busy:
            self._bench.answer()
        if self._waiting and not self._bench.busy and self._do(self._waiting[0], now):
            self._waiting.pop(0)
        complete = not self._waiting and not self._bench.busy and STAGES[self.at].done(self._watch)
        if complete and self.at < len(STAGES) - 1:
            self.at += 1
            self._waiting = list(STAGES[self.at].steps)
        if self.at and not self._over and now - self._wrote >= _EVERY_S:
            count = max(1, round(min(now - self._wrote, 3 * _EVERY_S) * self._rate))
            self._wrote = now
            self._feed.write(count, self.at, now)
        self._feed.tell(now, time.time_ns() // 1_000_000, self._watch.accounted)

    def _do(self, step: str, now: float) -> bool:
        """Whether it could be done."""
        what, _, name = step.partition(" ")
        to = ("--to-folder", self._folder)
        if what == "plan":
            path = self._file("plan.json", first_plan().encode())
            self._bench.command("plan", path, "--data-type", DATA_TYPE, "--version", str(PLAN_VERSION), *to)
        elif what == "publish":
            model = self.models.setdefault(name, {m.name: m for m in (FIRST, WORSE, BETTER)}.get(name, FIRST))
            named = ("--data-type", DATA_TYPE, "--name", model.name, "--version", str(model.version))
            path = self._file(model.file, model.pmml())
            self._bench.command("publish", path, *named, "--description", model.about, *to)
        elif what == "start":
            text = next(trial.text for trial in TRIALS if trial.name == name)
            self._bench.command("experiment", "start", self._file(f"{name}.toml", text.encode()), *to)
        elif what == "drift":
            self._feed.visits.drift()
        elif what == "train":
            if not self.trained.is_file():
                return False  # the command that the alert runs is at it
            self.models[RETRAINED_NAME] = read_trained(self.trained, RETRAINED_NAME, RETRAINED_VERSION)
        else:
            self._until = now + _LINGER_S
        return True

    def _file(self, name: str, content: bytes) -> str:
        path = self._files / name
        path.write_bytes(content)
        return str(path)
