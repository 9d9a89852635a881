"""Run the life of a model, and check what came out of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from demo.job import Job, serving
from demo.lifecycle.director import LifeDirector
from demo.lifecycle.feed import VisitFeed
from demo.lifecycle.judge import Judge
from demo.lifecycle.show import LifeShow, summary
from demo.lifecycle.visits import DATA_TYPE, FIELDS, SCORE, TARGET, Visits
from demo.lifecycle.watch import LifeWatch
from demo.running import DemoError, Refresh, display, ignore_signals
from demo.workbench import Workbench
from devservices.process import Process, environment

_TRAINING_ROWS = 20_000
_SILENCE_S = 150
_POLL_S = 0.05


def lifecycle(options: argparse.Namespace, console: Console, work: Path) -> int:
    """A model serves and is judged, replaced and trained anew; returns the exit code."""
    serving_root, judged, trial, watched = (work / n for n in ("serving", "judged", "trial", "watched"))
    models, files = serving_root / "models", work / "files"
    for folder in (serving_root / "records", serving_root / "results", models, judged, trial, watched, files):
        folder.mkdir(parents=True)
    (judged / "evidence").mkdir()
    links = {
        judged / "results": serving_root / "results",
        trial / "models": models,
        trial / "evidence": judged / "evidence",
        watched / "records": serving_root / "records",
    }
    for link, to in links.items():
        link.symlink_to(to, target_is_directory=True)
    training = files / "training.statistics"
    started = time.time()
    with contextlib.ExitStack() as cleanup:
        bench = Workbench(work / "workbench.log", environment())
        cleanup.callback(bench.close)
        bench.command("profile", _training(files, options.seed), "--to", training)
        jobs = [
            Job(work / "jobs" / script.removesuffix(".py"), script, flags)
            for script, flags in _jobs(serving_root, judged, trial, watched, training)
        ]
        for job in jobs:
            cleanup.callback(job.stop)
        cleanup.callback(ignore_signals)
        feed = VisitFeed(serving_root / "records", judged / "outcomes", options.seed)
        watch = LifeWatch(serving_root, judged, trial, watched)
        director = LifeDirector(options.rate, feed=feed, watch=watch, bench=bench, models=models, files=files)
        show = LifeShow(watch, director, started)
        bench.wait(120)
        on_alert = _on_alert(work, watched, feed, director.trained)
        cleanup.callback(on_alert.stop)
        with display(console, show) as refresh:
            _play(director, feed, jobs, show, refresh)
            show.note = "checking every result"
            refresh(True)
            judge = Judge(feed.sent, watch, director.models, models)
            verdict = judge.judge()
            show.note = "done"
            refresh(True)
        verdict.missing = director.missing()
        summary(console, show, judge)
        return 0 if verdict.good else 1


def _jobs(
    root: Path, judged: Path, trial: Path, watched: Path, training: Path
) -> list[tuple[str, Sequence[str | Path]]]:
    often: list[str | Path] = ["--checkpoint-seconds", "0.5"]
    how = {"score": SCORE, "label": TARGET, "key": "id", "time": "time", "entity": "customer"}
    known = {"training": str(training), "ignore": ["id", "customer"]}
    return [
        ("speculate.py", [*serving(root), *often, "--executors.model-types", '["PMML"]']),
        (
            "outcomes.py",
            ["--folder.root", judged, *often, "--data-types", json.dumps({DATA_TYPE: how}),
             "--attribution-seconds", "30", "--grace-seconds", "2", "--quality.seconds", "1"],
        ),
        ("experiment.py", ["--folder.root", trial, *often, "--stats-seconds", "1"]),
        (
            "watch.py",
            ["--folder.root", watched, "--checkpoint-seconds", "1", "--watch", '["records"]',
             "--data-types", json.dumps({DATA_TYPE: known}), "--window-seconds", "5",
             "--out-of-orderness", "1 s", "--drift.records", "2000",
             "--drift.tolerance", json.dumps({"ks": 0.1})],
        ),
    ]  # fmt: skip


def _on_alert(work: Path, watched: Path, feed: VisitFeed, to: Path) -> Process:
    """`millrace on-alert`, which runs the training command at the first alert about drift."""
    (watched / "alerts").mkdir(exist_ok=True)
    training = [sys.executable, "-m", "demo.lifecycle.train", feed.records / DATA_TYPE, feed.outcomes, to]
    command: list[str | Path] = [sys.executable, "-m", "millrace.cli", "on-alert", "--kind", "drift"]
    command += ["--from-folder", watched / "alerts", "--log", work / "alert-runs.jsonl", "--debounce", "0"]
    command += ["--limit", "120", "--count", "1", "--run", shlex.join(map(str, training))]
    return Process("millrace on-alert", command, work / "on-alert.log", {})


def _training(files: Path, seed: int) -> Path:
    """Visits of before the stream, as the statistics of a training set are made of."""
    _, rows, _ = Visits(np.random.default_rng([seed, 1])).draw(_TRAINING_ROWS)
    path = files / "training.jsonl"
    lines = (json.dumps(dict(zip(FIELDS, row, strict=True))) for row in rows.tolist())
    path.write_text("\n".join(lines) + "\n")
    return path


def _play(
    director: LifeDirector, feed: VisitFeed, jobs: Sequence[Job], show: LifeShow, refresh: Refresh
) -> None:
    """Let the story go on to its end. Raises `DemoError` when a job ends."""
    watch = show.watch
    heard, progress = time.monotonic(), (0, 0)
    while True:
        now = time.monotonic()
        for job in jobs:
            if job.exit_code is not None:
                raise DemoError(f"a job ended with code {job.exit_code}.\n{job.tail()}")
        director.step(now)
        said = watch.look()
        show.said += said
        refresh.say(said)
        refresh(False)
        if progress != (progress := (director.at, watch.joined if director.finished else 0)):
            heard = now
        written = sum(not visit.spoiled for visit in feed.sent)
        counted = min(watch.joined, watch.judged_by_model)
        if director.finished and counted >= written and watch.accounted >= len(feed.sent):
            return
        if now - heard > _SILENCE_S:
            return  # the judge will name what is missing
        time.sleep(_POLL_S)
