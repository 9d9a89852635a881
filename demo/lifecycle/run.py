"""Run the life of a model, and check what came out of it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from demo.director import Director
from demo.job import serving
from demo.lifecycle.feed import VisitFeed
from demo.lifecycle.judge import Judge
from demo.lifecycle.show import LifeShow
from demo.lifecycle.stages import LifeSteps, VisitFlow, stages_of
from demo.lifecycle.visits import DATA_TYPE, FIELDS, SCORE, TARGET, Visits
from demo.lifecycle.watch import LifeWatch
from demo.running import Run
from devservices.process import Process

_TRAINING_ROWS = 20_000


def lifecycle(run: Run) -> int:
    """A model serves and is judged, replaced and trained anew; returns the exit code."""
    work = run.work
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
    bench = run.workbench()
    bench.command("profile", _training(files, run.options.seed), "--to", training)
    for script, flags in _jobs(serving_root, judged, trial, watched, training):
        run.jobs.start(script, work / "jobs" / script.removesuffix(".py"), flags)
    feed = VisitFeed(serving_root / "records", judged / "outcomes", run.options.seed)
    watch = LifeWatch(serving_root, judged, trial, watched)
    steps = LifeSteps(bench, feed, models, files)
    stages = stages_of(steps, watch)
    director = Director(stages, bench, VisitFlow(feed, watch, run.options.rate, len(stages)))
    bench.wait(120)
    run.cleanup.callback(_on_alert(work, watched, feed, steps.trained).stop)
    judge = Judge(feed.sent, watch, steps.models, models)
    return run.show(LifeShow(watch, director, feed, steps, judge), director, watch.look, judge.judge)


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
             "--attribution-seconds", "4", "--grace-seconds", "1", "--quality.seconds", "1"],
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
