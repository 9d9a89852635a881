"""`python -m demo`: see `scripts/demo --help`."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live

from demo.director import Director
from demo.feed import Feed
from demo.job import Job
from demo.judge import Prediction, judge
from demo.show import WIDTH, Show, summary
from demo.train import read_data
from demo.watch import Version, Watch
from demo.workbench import Workbench, WorkbenchError
from devservices.process import ROOT, ServiceError, environment
from schemas.records import ModelEvent

_TICK_S = 0.05
_FRAME_S = 0.25
_LINE_S = 2.0
_SILENCE_S = 120
_LINGER_S = 2.5  # two checkpoints: time for a result that should not come
_INTERRUPTED = 130


class DemoError(Exception):
    """The demo could not be run to its end."""


def main() -> int:
    options = _options()
    console = Console(highlight=False)
    if console.is_terminal and console.width > WIDTH:
        console = Console(highlight=False, width=WIDTH)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    # A proxy is for the world outside; Flink's own interface is on this machine.
    os.environ["no_proxy"] = ",".join(filter(None, (os.environ.get("no_proxy"), "127.0.0.1")))
    work = options.keep or Path(tempfile.mkdtemp(prefix="millrace-demo-"))
    keep = options.keep is not None
    try:
        return _run(options, console, work.resolve())
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return _INTERRUPTED
    except (DemoError, WorkbenchError, ServiceError) as e:
        keep = True
        console.print(
            f"The demo failed: {e}\nIts folder is kept: {work}", style="red", markup=False, soft_wrap=True
        )
        return 1
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)


def _options() -> argparse.Namespace:
    def positive(text: str) -> int:
        if (number := int(text)) < 1:
            raise ValueError
        return number

    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Train models, serve them on Flink's mini cluster, replace them while records flow, and "
        "check every result. Exit code 0: no record was lost, doubled or stamped with a version that did not "
        "score it, and every model was served or refused as planned.",
    )
    parser.add_argument("--records", type=positive, default=30_000, help="how many (default: %(default)s)")
    parser.add_argument("--rate", type=positive, default=2500, help="records a second (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the training and of the order of records")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder and leave it there")
    options = parser.parse_args()
    if options.keep is not None:
        if options.keep.exists() and (not options.keep.is_dir() or any(options.keep.iterdir())):
            parser.error(f"--keep {options.keep}: there is something in it; name a new folder")
        options.keep.mkdir(parents=True, exist_ok=True)
    return options


def _run(options: argparse.Namespace, console: Console, work: Path) -> int:
    models = work / "models"
    models.mkdir()
    started = time.time()
    with contextlib.ExitStack() as cleanup:
        job = Job(work)
        cleanup.callback(job.stop)
        bench = Workbench(work / "workbench.log", {**environment(), "TMPDIR": str(job.scratch)})
        cleanup.callback(bench.close)
        cleanup.callback(_ignore_signals)  # a second Ctrl-C must not cut the stopping short
        trained = _trained(console, bench, options.seed)
        data = read_data(trained)
        feed = Feed(work / "records", data, options.seed)
        cleanup.callback(feed.close)
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
            job_runs=_every(0.3, job.runs),
        )
        show = Show(feed, watch, director, started)
        with _display(console, show) as refresh:
            _play(options.records, director, watch, job, refresh)
            show.note = "checking every result"
            refresh(True)
            bench.ask("predict", trained=str(trained), models=str(models))
            predictions = _predictions(bench.wait(120))
            verdict = judge(feed.sent.values(), watch.results, watch.dead, predictions)
            show.note = "done"
            refresh(True)
        faults = director.missing()
        summary(console, show, verdict, faults)
        return 0 if verdict.good and not faults else 1


def _trained(console: Console, bench: Workbench, seed: int) -> Path:
    cache = ROOT / ".cache" / "demo"
    bench.ask("train_models", cache=str(cache), seed=seed)
    with console.status("Training the models; Flink starts meanwhile") if console.is_terminal else _nothing():
        return Path(bench.wait(300))


def _play(total: int, director: Director, watch: Watch, job: Job, refresh: Refresh) -> None:
    """Let records flow until all are accounted for. Raises `DemoError` when the job ends or goes silent."""
    heard, progress, until = time.monotonic(), (0, 0, 0), None
    while until is None or time.monotonic() < until:
        now = time.monotonic()
        if job.exit_code is not None:
            raise DemoError(f"the job ended with code {job.exit_code}.\n{job.tail()}")
        director.step(now)
        refresh(False, watch.look())
        if progress != (progress := (director.written, watch.accounted, len(watch.events))):
            heard = now
        if until is None and director.finished and watch.accounted >= total:
            until = now + _LINGER_S
        if now - heard > _SILENCE_S:
            if director.finished:
                return  # the judge will name what is missing
            raise DemoError(f"nothing has happened for {_SILENCE_S} s.\n{job.tail()}")
        time.sleep(_TICK_S)


class Refresh:
    """Brings the display up to date where it is time, or `now`."""

    def __init__(self, console: Console, show: Show, live: Live | None) -> None:
        self._console, self._show, self._live = console, show, live
        self._next = 0.0

    def __call__(self, now: bool, events: Sequence[ModelEvent] = ()) -> None:
        if self._live is None:
            for event in events:
                self._console.print(self._show.told(event), markup=False, soft_wrap=True)
        if now or time.monotonic() >= self._next:
            self._next = time.monotonic() + (_LINE_S if self._live is None else _FRAME_S)
            if self._live is None:
                self._console.print(self._show.line(), markup=False, soft_wrap=True)
            else:
                self._live.update(self._show.panel(), refresh=True)


@contextlib.contextmanager
def _display(console: Console, show: Show) -> Iterator[Refresh]:
    """A live table on a terminal, else plain lines."""
    if not console.is_terminal:
        yield Refresh(console, show, None)
        return
    with Live(show.panel(), console=console, auto_refresh=False) as live:
        yield Refresh(console, show, live)


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield


def _predictions(answers: list[dict[str, Any]]) -> dict[Version, Prediction]:
    return {(a["data_type"], a["version"]): Prediction(a["digest"], a["scores"]) for a in answers}


def _every(seconds: float, ask: Callable[[], bool]) -> Callable[[], bool]:
    """`ask`, at most once in so many seconds; False in between."""
    then = 0.0

    def asked() -> bool:
        nonlocal then
        if time.monotonic() - then < seconds:
            return False
        answer, then = ask(), time.monotonic()
        return answer

    return asked


def _interrupt(number: int, frame: FrameType | None) -> None:
    _ignore_signals()  # a second Ctrl-C must not cut the stopping short
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
