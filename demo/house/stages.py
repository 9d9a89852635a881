"""Who works when on the way from sales to prices, and what is waited for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.director import Stage
from demo.feed import appear
from demo.house.plan import DATA_TYPE, DECLARATIONS, MODEL, Folders
from demo.house.story import Facts
from demo.house.watch import HOUSES, PRICES, HouseWatch, newest
from demo.job import DemoError, Job, Jobs, serving
from demo.pace import Pace
from demo.workbench import Workbench
from schemas.results.records import EventKind


@dataclass(slots=True)
class HouseSteps:
    """The four jobs and the workbench at work; `asked`: lines of requests so far."""

    folders: Folders
    jobs: Jobs
    bench: Workbench
    redis: str
    asked: int = 0

    @property
    def offline(self) -> dict[str, Any]:
        """What the workbench has trained and computed from the training set; empty before."""
        return self.bench.answers.get("train_and_publish", {})

    def features(self) -> Job:
        f = self.folders
        flags = ["--declarations", DECLARATIONS, "--history.url", f.history, *self._often(f.features)]
        return self.jobs.start("features.py", f.features, flags)

    def training_set(self) -> None:
        f = self.folders
        flags: list[str | Path] = [
            "--labels",
            f.story / "labels.parquet",
            "--model",
            MODEL,
            "--registry",
            f.registry,
        ]
        flags += ["--history", str(f.history), "--out", str(f.training_set)]
        self.jobs.start("training_set.py", f.training, flags, ends=True)

    def assemble(self) -> None:
        f = self.folders
        self.jobs.start("assemble.py", f.requests, ["--registry", f.registry, *self._often(f.requests)])

    def serve(self) -> None:
        self.jobs.start("serve.py", self.folders.scoring, serving(self.folders.scoring))

    def train(self) -> None:
        self.bench.ask("train_and_publish", root=str(self.folders.root))

    def ask(self) -> None:
        f = self.folders
        lines = (f.story / "requests.jsonl").read_bytes()
        self.asked = lines.count(b"\n")
        appear(f.requests / "records" / "requests" / "all.jsonl", lines)

    def _often(self, root: Path) -> list[str | Path]:
        online = json.dumps({"url": self.redis})
        return ["--folder.root", root, "--checkpoint-seconds", "1", "--redis", online]


class Days:
    """The first stage's events at `rate` a second, a file a day, once the job runs."""

    def __init__(
        self, folders: Folders, rate: float, job_runs: Callable[[], bool], watch: HouseWatch
    ) -> None:
        self._folders, self._pace, self._job_runs, self._watch = folders, Pace(rate), job_runs, watch
        self._days = sorted((folders.story / "sales").iterdir())
        self._due = self.day = self.written = 0

    def flow(self, now: float, at: int, hold: bool) -> bool:
        if self._job_runs():
            self._due += self._pace.due(now, 1 << 30, hold=False)
            while self.day < len(self._days) and self._write_day(self._days[self.day].name):
                self.day += 1
        return self.day == len(self._days)

    def settled(self) -> bool:
        return True

    def progress(self) -> object:
        watch = self._watch
        return self.written, *watch.history.values(), watch.outcomes, watch.scoring.accounted

    def _write_day(self, name: str) -> bool:
        """Whether it is due."""
        texts = {source: self._folders.story / source / name for source in ("sales", "listings")}
        found = {source: path.read_bytes() for source, path in texts.items()}
        count = sum(text.count(b"\n") for text in found.values())
        if self._due < count:
            return False
        for source, text in found.items():
            appear(self._folders.features / "records" / source / name, text)
        self._due -= count
        self.written += count
        return True


def stages_of(steps: HouseSteps, facts: Facts, watch: HouseWatch) -> tuple[Stage, ...]:
    def stored() -> bool:
        # the last event of each stream never becomes final, since nothing has come after it
        rows = (watch.history[PRICES], watch.history[HOUSES])
        last = facts.newest
        return rows == (facts.sales, facts.listings) and newest(watch.served(list(last))) == [*last.values()]

    def answered() -> bool:
        scored = watch.scoring.accounted >= len(watch.assembled)
        return 0 < steps.asked <= watch.outcomes and scored

    return (
        Stage(
            "houses are listed and sold",
            (),
            stored,
            "history lacks a sale or a listing, or Redis a district's last",
        ),
        Stage(
            "what was known is joined to prices",
            (steps.training_set, steps.serve, steps.assemble),
            lambda: steps.jobs.ended("training_set.py"),
            "the training set is not there",
        ),
        Stage(
            "a model is trained and published",
            (steps.train,),
            lambda: _served(watch),
            "the model is not served",
        ),
        Stage(
            "requests are completed and scored",
            (steps.ask,),
            answered,
            "a request has not come out, or was not scored",
        ),
    )


def _served(watch: HouseWatch) -> bool:
    """Raises `DemoError` where the model is refused."""
    of = [event for event in watch.scoring.events if event.data_type == DATA_TYPE]
    for event in of:
        if event.kind is EventKind.REFUSED:
            raise DemoError(f"the model is refused at step {event.step}: {event.reason}")
    return any(event.kind is EventKind.SERVED for event in of)
