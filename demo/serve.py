"""`scripts/demo serve`: models of two data types are published and replaced while records flow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from demo.director import Director, Stage
from demo.feed import Feed
from demo.job import serving
from demo.pace import PacedFeed
from demo.plan import CANCER_1, CANCER_2, DAMAGED, PLANNED, WINE_1, WINE_2, WINE_4, Planned
from demo.running import Run
from demo.show import ServeShow
from demo.trained import TrainedModels
from demo.verdict import Verdict
from demo.watch import Watch


def serve(run: Run) -> int:
    """Returns the exit code."""
    (run.work / "models").mkdir()
    job = run.jobs.start("serve.py", run.work, serving(run.work))
    models = TrainedModels(run)
    feed = Feed(run.work / "records", models.data, run.options.seed)
    models.bench.ask("warm_up")
    watch = Watch(run.work, {one.data_type: one.classes for one in models.data})
    stages, total = stages_of(models, watch, job.has_run), run.options.records
    flow = PacedFeed(feed, watch.served, stages, total, run.options.rate)
    director = Director(stages, models.bench, flow)

    def verdict() -> Verdict:
        found = models.judge(feed.sent.values(), watch.served.results, watch.served.dead)
        found.missing = unplanned(watch)
        return found

    return run.show(ServeShow(feed, watch, director, models, total), director, watch.look, verdict)


def stages_of(models: TrainedModels, watch: Watch, job_runs: Callable[[], bool]) -> tuple[Stage, ...]:
    """What they cause ends a stage in which models are published."""

    def publishing(title: str, share: float, *published: Planned) -> Stage:
        steps = [partial(models.publish, one) for one in published]
        missing = f"{' or '.join(one.label for one in published)} was neither served nor refused"

        def done() -> bool:
            return all(watch.event(one.data_type, one.version) is not None for one in published)

        return Stage(title, steps, done, missing, share)

    return (
        Stage("records flow, Flink starts", (), job_runs, "the job does not run", 0.14),
        publishing("the first models are published", 0.16, WINE_1, CANCER_1),
        publishing("wine moves to its second model", 0.18, WINE_2),
        publishing("a damaged model is published", 0.14, DAMAGED),
        publishing("cancer moves to its second model", 0.18, CANCER_2),
        publishing("wine moves to its third model", 0.20, WINE_4),
    )


def unplanned(watch: Watch) -> list[str]:
    """Models that were served and should have been refused, or the other way round."""
    events = ((model, watch.event(model.data_type, model.version)) for model in PLANNED)
    return [
        f"{model.label} was {event.kind.value}: {event.reason or 'it should not have been'}"
        for model, event in events
        if event is not None and (event.kind == "served") != model.served
    ]
