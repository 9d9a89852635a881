"""What happens when in the life of a model, and what is waited for, while visits go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from demo.director import Stage
from demo.lifecycle.feed import VisitFeed
from demo.lifecycle.plan import (
    BETTER_TRIAL,
    DRIFTING,
    PLAN_VERSION,
    RETRAINED_TRIAL,
    WORSE_TRIAL,
    Trial,
    first_plan,
)
from demo.lifecycle.train import read_trained
from demo.lifecycle.visits import BETTER, DATA_TYPE, FIRST, RETRAINED_NAME, RETRAINED_VERSION, WORSE, Model
from demo.lifecycle.watch import LifeWatch
from demo.workbench import Workbench
from schemas.results.records import EventKind

_LINGER_S = 4.0
_EVERY_S = 0.2


@dataclass(slots=True)
class LifeSteps:
    """What is done; `folder`: that of the model stream, `files`: of what is published.

    `models`: name -> as published so far."""

    bench: Workbench
    feed: VisitFeed
    folder: Path
    files: Path
    models: dict[str, Model] = field(default_factory=dict)
    until: float = 0.0
    """To when the last stage goes on, in seconds."""

    @property
    def trained(self) -> Path:
        """What the training command writes."""
        return self.files / "retrained.json"

    def plan(self) -> None:
        path = self._file("plan.json", first_plan().encode())
        self._command("plan", path, "--data-type", DATA_TYPE, "--version", str(PLAN_VERSION))

    def publish(self, model: Model) -> None:
        self.models[model.name] = model
        named = ("--data-type", DATA_TYPE, "--name", model.name, "--version", str(model.version))
        path = self._file(model.file, model.pmml())
        self._command("publish", path, *named, "--description", model.about)

    def publish_trained(self) -> bool:
        """False while the command that the alert runs is at it."""
        there = self.trained.is_file()
        if there:
            self.publish(read_trained(self.trained, RETRAINED_NAME, RETRAINED_VERSION))
        return there

    def start(self, trial: Trial) -> None:
        self._command("experiment", "start", self._file(f"{trial.name}.toml", trial.text.encode()))

    def linger(self) -> None:
        self.until = time.monotonic() + _LINGER_S

    def _command(self, *arguments: str | Path) -> None:
        self.bench.command(*arguments, "--to-folder", self.folder)

    def _file(self, name: str, content: bytes) -> Path:
        path = self.files / name
        path.write_bytes(content)
        return path


class VisitFlow:
    """Visits at `rate` a second from the second stage on, and what came of each; the stage `ends` is none."""

    def __init__(self, feed: VisitFeed, watch: LifeWatch, rate: float, ends: int) -> None:
        self._feed, self._watch, self._rate, self._ends = feed, watch, rate, ends
        self._wrote, self._over = 0.0, False

    def flow(self, now: float, at: int, hold: bool) -> bool:
        self._over, since = at == self._ends, now - self._wrote
        if at and not self._over and since >= _EVERY_S:
            self._wrote = now
            self._feed.write(max(1, round(min(since, 3 * _EVERY_S) * self._rate)), at, now)
        self._feed.tell(now, time.time_ns() // 1_000_000, self._watch.served.accounted)
        return True

    def settled(self) -> bool:
        """The outcomes of all visits, and what the jobs make of them, too."""
        written = sum(not visit.spoiled for visit in self._feed.sent)
        counted = min(self._watch.joined, self._watch.judged_by_model)
        whole = counted >= written and self._watch.served.accounted >= len(self._feed.sent)
        return whole and not self._feed.outstanding

    def progress(self) -> object:
        """Visits never end by themselves: while they go on, only stages are progress."""
        return self._watch.joined if self._over else 0


def stages_of(steps: LifeSteps, watch: LifeWatch) -> tuple[Stage, ...]:
    def served(model: str) -> Callable[[], bool]:
        return lambda: watch.served.told(EventKind.SERVED, model)

    def canary(trial: Trial, missing: str) -> Stage:
        return Stage(
            "it goes on as a canary", (partial(steps.start, trial),), lambda: trial.ended(watch), missing
        )

    def publishing(title: str, model: Model, missing: str) -> Stage:
        return Stage(title, (partial(steps.publish, model),), served(model.name), missing)

    return (
        Stage(
            "Flink starts, the first model is published",
            (steps.plan, partial(steps.publish, FIRST)),
            served(FIRST.name),
            "no model",
        ),
        Stage(
            "a model serves, outcomes come late",
            (),
            lambda: watch.accuracy(FIRST.name) is not None,
            "no outcome was joined",
        ),
        publishing("a worse model is published", WORSE, "the worse model is not served"),
        canary(WORSE_TRIAL, "the worse model still runs"),
        publishing("a better model is published", BETTER, "the better is not served"),
        canary(BETTER_TRIAL, "the better is not promoted"),
        Stage(
            "the data drift",
            (steps.feed.visits.drift,),
            lambda: watch.drifted(DRIFTING) is not None,
            "no alert",
        ),
        Stage(
            "the alert trains a third model", (steps.publish_trained,), served(RETRAINED_NAME), "none trained"
        ),
        canary(RETRAINED_TRIAL, "it is not promoted"),
        Stage("the third model serves", (steps.linger,), lambda: time.monotonic() > steps.until, ""),
    )
