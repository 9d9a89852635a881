"""Run the whole circle, and check what came out of it."""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path

from rich.console import Console

from demo.house.director import HouseDirector, Jobs
from demo.house.judge import judge
from demo.house.plan import Folders
from demo.house.show import HouseShow, summary
from demo.house.story import Facts
from demo.house.watch import HouseWatch
from demo.running import DemoError, Refresh, display, every, ignore_signals
from demo.workbench import Workbench
from devservices.process import environment
from devservices.redis import Redis
from udfs.stores.online.base import RedisOptions

_POLL_S = 0.2  # a look at the folders of history takes some milliseconds
_SILENCE_S = 300  # the batch job of the training set says nothing while it works
_LINGER_S = 2.5  # two checkpoints: time for an outcome that should not come
_REQUESTS_IN = 10


def house_prices(options: argparse.Namespace, console: Console, work: Path) -> int:
    """From sales to features, a training set, a model, and the prices that are asked for."""
    started = time.time()
    folders = Folders(work)
    folders.make()
    with contextlib.ExitStack() as cleanup:
        redis = cleanup.enter_context(Redis())
        jobs = Jobs(folders, redis.url, {})
        cleanup.callback(jobs.stop)
        scratch = work / "scratch"
        scratch.mkdir()
        module = "demo.house.workbench"
        bench = Workbench(work / "workbench.log", {**environment(), "TMPDIR": str(scratch)}, module)
        cleanup.callback(bench.close)
        cleanup.callback(ignore_signals)
        jobs.features()
        requests = max(1, options.records // _REQUESTS_IN)
        bench.ask("prepare", root=str(work), seed=options.seed, sales=options.records, requests=requests)
        bench.wait(120)
        facts = Facts.read(folders.story / "facts.json")
        watch = HouseWatch(folders, RedisOptions(redis.url))
        cleanup.callback(watch.close)
        runs = every(0.3, jobs.started["features.py"].runs)
        director = HouseDirector(options.rate, facts, jobs=jobs, watch=watch, bench=bench, job_runs=runs)
        show = HouseShow(facts, watch, director, started)
        with display(console, show) as refresh:
            _play(director, watch, jobs, refresh)
            show.note = "checking every result"
            refresh(True)
            bench.ask("score", root=str(work))
            verdict = judge(facts, watch, director.offline, bench.wait(120))
            show.note = "done"
            refresh(True)
        summary(console, show, verdict)
        return 0 if verdict.good else 1


def _play(director: HouseDirector, watch: HouseWatch, jobs: Jobs, refresh: Refresh) -> None:
    """Until all stages are done. Raises `DemoError` when nothing happens any more."""
    heard, until = time.monotonic(), None
    progress: tuple[int, ...] = ()
    while until is None or time.monotonic() < until:
        now = time.monotonic()
        director.step(now)
        refresh(False, watch.look())
        outcomes = len(watch.assembled) + len(watch.expired) + len(watch.no_requests)
        seen = (director.stage, director.written, *watch.history.values(), outcomes, len(watch.results))
        if progress != (progress := seen):
            heard = now
        if until is None and director.finished:
            until = now + _LINGER_S
        if now - heard > _SILENCE_S:
            raise DemoError(f"nothing has happened for {_SILENCE_S} s.\n{jobs.tails()}")
        time.sleep(_POLL_S)
