"""Which model is published next, and what is waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from demo.feed import Feed
from demo.plan import PLANNED, STAGES, Planned
from demo.staging import StagedDirector
from demo.watch import Watch
from demo.workbench import Workbench


class Director(StagedDirector):
    """`job_runs` says whether every task of the job runs."""

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
        super().__init__(STAGES, total, rate, feed)
        self._watch, self._bench = watch, bench
        self._trained, self._models, self._job_runs = trained, models, job_runs
        self._waiting = list(STAGES[0].models)
        self.published: set[Planned] = set()
        self.publishing: Planned | None = None
        self._running = False

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

    def _begin(self) -> None:
        self._waiting = list(STAGES[self.stage].models)

    def _go_on(self) -> None:
        self._running = self._running or self._job_runs()
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
        return all(self._watch.event(m.data_type, m.version) is not None for m in STAGES[self.stage].models)
