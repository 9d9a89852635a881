"""Stage after stage: who works when, and what is waited for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.house.plan import DATA_TYPE, DECLARATIONS, MODEL, Folders
from demo.house.story import Facts
from demo.house.watch import HOUSES, PRICES, HouseWatch, newest
from demo.job import Job, serving
from demo.pace import Pace
from demo.running import DemoError
from demo.workbench import Workbench
from schemas.results.records import EventKind

Flags = list[str | Path]

STAGES = (
    "houses are listed and sold",
    "what was known is joined to prices",
    "a model is trained and published",
    "requests are completed and scored",
)


@dataclass(slots=True)
class Jobs:
    """The four jobs, each in a folder of its own; they start when they are asked for."""

    folders: Folders
    redis: str
    started: dict[str, Job]

    def features(self) -> None:
        f = self.folders
        flags: Flags = ["--folder.root", f.features, "--declarations", DECLARATIONS]
        flags += ["--history.url", f.history, "--checkpoint-seconds", "1", *self._online()]
        self._start("features.py", f.features, flags)

    def training_set(self) -> None:
        f = self.folders
        flags: Flags = ["--labels", f.story / "labels.parquet", "--model", MODEL, "--registry", f.registry]
        more = ["--history", str(f.history), "--out", str(f.training_set)]
        self._start("training_set.py", f.training, [*flags, *more])

    def assemble(self) -> None:
        f = self.folders
        flags: Flags = ["--folder.root", f.requests, "--registry", f.registry, "--checkpoint-seconds", "1"]
        self._start("assemble.py", f.requests, [*flags, *self._online()])

    def serve(self) -> None:
        self._start("serve.py", self.folders.scoring, serving(self.folders.scoring))

    def check(self) -> None:
        """Raises `DemoError` where one has failed, or has ended that should not."""
        for script, job in self.started.items():
            code = job.exit_code
            if code is not None and (code or script != "training_set.py"):
                raise DemoError(f"jobs/{script} ended with code {code}.\n{job.tail()}")

    def ended(self, script: str) -> bool:
        return self.started[script].exit_code is not None

    def tails(self) -> str:
        return "\n".join(job.tail() for job in self.started.values())

    def stop(self) -> None:
        for job in self.started.values():
            job.stop()

    def _online(self) -> list[str]:
        return ["--redis", json.dumps({"url": self.redis})]

    def _start(self, script: str, folder: Path, flags: Flags) -> None:
        self.started[script] = Job(folder, script, flags)


class HouseDirector:
    """Events flow at `rate` a second, a file a day, once the job runs. `step` is called often, and never
    blocks."""

    def __init__(
        self,
        rate: float,
        facts: Facts,
        *,
        jobs: Jobs,
        watch: HouseWatch,
        bench: Workbench,
        job_runs: Callable[[], bool],
    ) -> None:
        self._pace, self._facts = Pace(rate), facts
        self._jobs, self._watch, self._bench, self._job_runs = jobs, watch, bench, job_runs
        self._runs = False
        self._days = sorted((jobs.folders.story / "sales").iterdir())
        self._due = 0
        self._moments: list[float] = []
        self.written = self.stage = self.day = self.asked = 0
        self.offline: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        return self.stage == len(STAGES)

    def seconds(self, stage: int, now: float) -> float | None:
        """How long a stage has taken, None before it begins."""
        begun = self._moments[stage : stage + 2]
        return None if not begun else (begun[1] if len(begun) == 2 else now) - begun[0]

    def step(self, now: float) -> None:
        """Go on with what is due at `now` (seconds). Raises `DemoError`, `WorkbenchError`."""
        if not self._moments:
            self._moments.append(now)
        self._jobs.check()
        stages = (self._flow, self._join, self._train, self._ask)
        if not self.finished and stages[self.stage](now):
            self.stage += 1
            self._moments.append(now)
            self._begin()

    def _begin(self) -> None:
        if self.stage == 1:
            self._jobs.training_set()
            self._jobs.serve()
            self._jobs.assemble()
        elif self.stage == 2:
            self._bench.ask("train_and_publish", root=str(self._jobs.folders.root))
        elif self.stage == 3:
            f = self._jobs.folders
            lines = (f.story / "requests.jsonl").read_bytes()
            self.asked = lines.count(b"\n")
            _appear(f.requests / "records" / "requests" / "all.jsonl", lines)

    def _flow(self, now: float) -> bool:
        """Until history has a row of each sale and listing, and Redis each district's last."""
        self._runs = self._runs or self._job_runs()
        if not self._runs:
            return False
        if self.day < len(self._days):
            self._due += self._pace.due(now, 1 << 30, hold=False)
            self._write_days()
            return False
        facts, rows = self._facts, self._watch.history
        # the last event of each stream never becomes final, since nothing has come after it
        if (rows[PRICES], rows[HOUSES]) != (facts.sales, facts.listings):
            return False
        return newest(self._watch.served(list(facts.newest))) == list(facts.newest.values())

    def _write_days(self) -> None:
        story, records = self._jobs.folders.story, self._jobs.folders.features / "records"
        while self.day < len(self._days):
            name = self._days[self.day].name
            texts = {source: (story / source / name).read_bytes() for source in ("sales", "listings")}
            count = sum(text.count(b"\n") for text in texts.values())
            if self._due < count:
                return
            for source, text in texts.items():
                _appear(records / source / name, text)
            self._due -= count
            self.written += count
            self.day += 1

    def _join(self, now: float) -> bool:
        return self._jobs.ended("training_set.py")

    def _train(self, now: float) -> bool:
        if self._bench.busy:
            self.offline = self._bench.answer() or {}
        return not self._bench.busy and _told(self._watch, EventKind.SERVED)

    def _ask(self, now: float) -> bool:
        """Until each line has come out somewhere, and each completed request with a score."""
        watch = self._watch
        out = len(watch.assembled) + len(watch.expired) + len(watch.no_requests)
        return out >= self.asked and len(watch.results) + len(watch.unscorable) >= len(watch.assembled)


def _told(watch: HouseWatch, kind: EventKind) -> bool:
    """Raises `DemoError` where the model is refused."""
    of: Iterable[Any] = [event for event in watch.events if event.data_type == DATA_TYPE]
    if refused := [event for event in of if event.kind is EventKind.REFUSED]:
        raise DemoError(f"the model is refused at step {refused[0].step}: {refused[0].reason}")
    return any(event.kind is kind for event in of)


def _appear(file: Path, content: bytes) -> None:
    """A file that is whole as soon as it is there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    hidden = file.with_name(f".{file.name}")
    hidden.write_bytes(content)
    hidden.rename(file)
