"""Run the race, and check what came out of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from demo.feed import Feed
from demo.job import Job, serving
from demo.judge import judge, same
from demo.race.director import RaceDirector
from demo.race.plan import DATA_TYPE, MODEL_TYPES, PLANS, plan_text
from demo.race.show import RaceShow, summary
from demo.race.watch import RaceWatch
from demo.running import display, ignore_signals, play, predictions_of, trained_models
from demo.train import read_data
from demo.workbench import Workbench
from devservices.process import environment
from schemas.plans.plan import read_plan
from schemas.results.decided import Decided
from udfs.ensemble.policies.replay import redecide

DECIDED_OTHERWISE = "decided otherwise than the pure functions decide by the same answers"


def race(options: argparse.Namespace, console: Console, work: Path) -> int:
    """Three models score the wine records; returns the exit code."""
    models, faults = work / "models", work / "faults.json"
    models.mkdir()
    started = time.time()
    more: list[str | Path] = [
        "--executors.model-types",
        json.dumps(MODEL_TYPES),
        "--executors.fault-injection",
        faults,
    ]
    with contextlib.ExitStack() as cleanup:
        job = Job(work, "speculate.py", [*serving(work), *more])
        cleanup.callback(job.stop)
        bench = Workbench(work / "workbench.log", {**environment(), "TMPDIR": str(job.scratch)})
        cleanup.callback(bench.close)
        cleanup.callback(ignore_signals)
        trained = trained_models(console, bench, options.seed)
        data = [one for one in read_data(trained) if one.data_type == DATA_TYPE]
        feed = Feed(work / "records", data, options.seed)
        watch = RaceWatch(work, data[0].classes)
        director = RaceDirector(
            options.records,
            options.rate,
            feed=feed,
            watch=watch,
            bench=bench,
            trained=trained,
            models=models,
            faults=faults,
        )
        show = RaceShow(watch, director, started)
        with display(console, show) as refresh:
            play(options.records, director, watch, job, refresh)
            show.note = "checking every result"
            refresh(True)
            bench.ask("predict", trained=str(trained), models=str(models))
            predictions = predictions_of(bench.wait(120))
            verdict = judge(feed.sent.values(), watch.results, watch.dead, predictions)
            verdict.count(DECIDED_OTHERWISE, decided_otherwise(watch.decided))
            verdict.missing = director.missing()
            show.note = "done"
            refresh(True)
        summary(console, show, verdict)
        return 0 if verdict.good else 1


def decided_otherwise(decided: Sequence[Decided]) -> list[str]:
    """Results that the pure functions, given the answers that each names, decide in another way."""
    found = [
        f"{_place(one)} was decided by an unknown plan" for one in decided if one.plan_version not in PLANS
    ]
    for version in PLANS:
        ours = [one for one in decided if one.plan_version == version]
        for one, again in zip(ours, redecide(ours, read_plan(plan_text(version))), strict=True):
            stamped = (one.result.model, one.rule)
            if stamped != (again.by, again.rule) or not same(one.result.scores, dict(again.scores)):
                found.append(
                    f"{_place(one)} is stamped {stamped}, and is decided by {(again.by, again.rule)}"
                )
    return found


def _place(one: Decided) -> str:
    return f"{one.result.source} line {one.result.offset}"
