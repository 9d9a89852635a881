"""`python -m demo`: see `scripts/demo --help`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path

from rich.console import Console

from demo.director import Director
from demo.feed import Feed
from demo.house.run import house_prices
from demo.job import Job, serving
from demo.judge import judge
from demo.lifecycle.run import lifecycle
from demo.race.run import race
from demo.running import display, every, ignore_signals, play, predictions_of, run, trained_models
from demo.show import Show, summary
from demo.train import read_data
from demo.watch import Watch
from demo.workbench import Workbench
from devservices.process import environment

DEMOS = {
    "serve": (30_000, 2500),
    "speculate": (16_000, 1000),
    "features": (24_000, 6000),
    "lifecycle": (0, 250),
}
"""How many records each demo streams by default, and how many a second; of features: sales, and events; of
lifecycle as many as its story needs."""


def main() -> int:
    options = _options()
    return run(SHOWN[options.demo], options)


def _options() -> argparse.Namespace:
    def positive(text: str) -> int:
        if (number := int(text)) < 1:
            raise ValueError
        return number

    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="serve: train models, serve them on Flink's mini cluster, replace them while records "
        "flow, and check every result. speculate: three models race for each record; one gets "
        "slow, the plan that decides changes, one is unpublished. features: features of house "
        "sales, a training set, a model of it, and requests that it scores with features from "
        "Redis. lifecycle: a worse model is rolled back by itself, a better one promoted, the "
        "data drift and an alert trains a third. Exit code 0: no record was lost, doubled or "
        "stamped with a version that did not score it, and all went as planned.",
    )
    parser.add_argument(
        "demo", nargs="?", choices=DEMOS, default="serve", help="what to show (default: serve)"
    )
    parser.add_argument(
        "--records",
        type=positive,
        help="how many (default: 30,000; speculate: 16,000; features: 24,000; lifecycle: as it needs)",
    )
    parser.add_argument(
        "--rate",
        type=positive,
        help="records a second (default: 2500; speculate: 1000; features: 6000; lifecycle: 250)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training and of the order of records")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder and leave it there")
    options = parser.parse_args()
    records, rate = DEMOS[options.demo]
    options.records, options.rate = options.records or records, options.rate or rate
    if options.keep is not None:
        if options.keep.exists() and (not options.keep.is_dir() or any(options.keep.iterdir())):
            parser.error(f"--keep {options.keep}: there is something in it; name a new folder")
        options.keep.mkdir(parents=True, exist_ok=True)
    return options


def serve(options: argparse.Namespace, console: Console, work: Path) -> int:
    """Models of two data types are published and replaced while records flow."""
    models = work / "models"
    models.mkdir()
    started = time.time()
    with contextlib.ExitStack() as cleanup:
        job = Job(work, "serve.py", serving(work))
        cleanup.callback(job.stop)
        bench = Workbench(work / "workbench.log", {**environment(), "TMPDIR": str(job.scratch)})
        cleanup.callback(bench.close)
        cleanup.callback(ignore_signals)
        trained = trained_models(console, bench, options.seed)
        data = read_data(trained)
        feed = Feed(work / "records", data, options.seed)
        bench.ask("warm_up")
        watch = Watch(work, {one.data_type: one.classes for one in data})
        director = Director(
            options.records,
            options.rate,
            feed=feed,
            watch=watch,
            bench=bench,
            trained=trained,
            models=models,
            job_runs=every(0.3, job.runs),
        )
        show = Show(feed, watch, director, started)
        with display(console, show) as refresh:
            play(options.records, director, watch, job, refresh)
            show.note = "checking every result"
            refresh(True)
            bench.ask("predict", trained=str(trained), models=str(models))
            predictions = predictions_of(bench.wait(120))
            verdict = judge(feed.sent.values(), watch.results, watch.dead, predictions)
            show.note = "done"
            refresh(True)
        verdict.missing = director.missing()
        summary(console, show, verdict)
        return 0 if verdict.good else 1


SHOWN = {"serve": serve, "speculate": race, "features": house_prices, "lifecycle": lifecycle}


if __name__ == "__main__":
    sys.exit(main())
