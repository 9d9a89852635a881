"""Stage after stage: how many records are due, which model is published next, and what is waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from demo.feed import Feed
from demo.pace import Pace
from demo.plan import PLANNED, STAGES, Planned
from demo.watch import Watch
from demo.workbench import Workbench


class Director:
    """Records flow at `rate` a second and slow down, without a stop, while a stage waits for its models.

    `step` is called often and never blocks; `job_runs` says whether every task of the job runs.
    """

    def __init__(
        self,
        total: int,
        rate: float,
        *,
        feed: Feed,
        watch: Watch,
        bench: Workbench,
        trained: Path,
        models: Path,
        job_runs: Callable[[], bool],
    ) -> None:
        self.total, self._pace = total, Pace(rate)
        self._feed, self._watch, self._bench = feed, watch, bench
        self._trained, self._models, self._job_runs = trained, models, job_runs
        self._at = 0
        self._waiting = list(STAGES[0].models)
        self.published: set[Planned] = set()
        self.publishing: Planned | None = None
        self._running = False

    @property
    def stage(self) -> int:
        return self._at

    @property
    def written(self) -> int:
        return self._feed.count

    @property
    def finished(self) -> bool:
        """All records are written, and every model is served or refused."""
        return self._at == len(STAGES) - 1 and self._feed.count >= self.total and self._complete()

    def missing(self) -> list[str]:
        """What has not gone by the plan."""
        faults = []
        for model in PLANNED:
            event = self._watch.event(model.data_type, model.version)
            if event is None:
                faults.append(f"{model.label} was neither served nor refused")
            elif (event.kind == "served") != model.served:
                faults.append(
                    f"{model.label} was {event.kind.value}: {event.reason or 'it should not have been'}"
                )
        return faults

    def step(self, now: float) -> None:
        """Write what is due at `now` (seconds), and go on with the models. Raises `WorkbenchError`."""
        self._running = self._running or self._job_runs()
        self._publish()
        end = round(self.total * sum(stage.share for stage in STAGES[: self._at + 1]))
        if self._at == len(STAGES) - 1:
            end = self.total
        complete = self._complete()
        left = end - self._feed.count
        if complete and left <= 0 and self._at < len(STAGES) - 1:
            self._at += 1
            self._waiting = list(STAGES[self._at].models)
            return
        if count := self._pace.due(now, left, hold=not complete):
            self._feed.write(count)

    def _publish(self) -> None:
        if self._bench.busy:
            if self._bench.answer() is None:
                return
            if self.publishing is not None:
                self.published.add(self.publishing)
                self.publishing = None
        if self._waiting and self._running:
            self.publishing = self._waiting.pop(0)
            self._bench.ask(
                "publish",
                model=asdict(self.publishing),
                trained=str(self._trained),
                models=str(self._models),
                fields=list(self._feed.sent[self.publishing.data_type].data.fields),
            )

    def _complete(self) -> bool:
        if self._waiting or self.publishing is not None or not self._running:
            return False
        return all(self._watch.event(m.data_type, m.version) is not None for m in STAGES[self._at].models)
