"""Run the race, and check what came out of it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from demo.director import Director
from demo.feed import Feed
from demo.job import serving
from demo.judge import same
from demo.pace import PacedFeed
from demo.race.show import RaceShow
from demo.race.stages import DATA_TYPE, MODEL_TYPES, PLANS, RaceSteps, plan_text, stages_of
from demo.race.watch import RaceWatch
from demo.running import Run
from demo.trained import TrainedModels
from demo.verdict import Verdict
from demo.watch import Result
from schemas.plans.plan import read_plan
from schemas.results.decided import Decided
from udfs.ensemble.policies.replay import redecide

DECIDED_OTHERWISE = "decided otherwise than the pure functions decide by the same answers"


def race(run: Run) -> int:
    """Three models score the wine records; returns the exit code."""
    (run.work / "models").mkdir()
    faults = run.work / "faults.json"
    flags = [*serving(run.work), "--executors.model-types", json.dumps(MODEL_TYPES)]
    run.jobs.start("speculate.py", run.work, [*flags, "--executors.fault-injection", faults])
    models = TrainedModels(run)
    data = [one for one in models.data if one.data_type == DATA_TYPE]
    feed = Feed(run.work / "records", data, run.options.seed)
    watch = RaceWatch(run.work, data[0].classes)
    steps = RaceSteps(models, faults)
    stages, total = stages_of(steps, watch), run.options.records
    flow = PacedFeed(feed, watch.served, stages, total, run.options.rate)
    director = Director(stages, models.bench, flow)

    def verdict() -> Verdict:
        results = [Result.of(one.result) for one in watch.served.results]
        found = models.judge(feed.sent.values(), results, watch.served.dead)
        found.count(DECIDED_OTHERWISE, decided_otherwise(watch.served.results))
        return found

    return run.show(RaceShow(feed, watch, director, steps, total), director, watch.look, verdict)


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
