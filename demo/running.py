"""What every demo runs in: a folder of its own, a display, and an end that leaves nothing behind."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from rich.console import Console, RenderableType
from rich.live import Live

from demo.job import Job
from demo.judge import Prediction
from demo.panel import WIDTH
from demo.watch import Version
from demo.workbench import Workbench, WorkbenchError
from devservices.process import ROOT, ServiceError
from schemas.results.records import ModelEvent

_POLL_S = 0.05
_FRAME_S = 0.25
_LINE_S = 2.0
_SILENCE_S = 120
_LINGER_S = 2.5  # two checkpoints: time for a result that should not come
_INTERRUPTED = 130


class DemoError(Exception):
    """The demo could not be run to its end."""


class Show(Protocol):
    def panel(self) -> RenderableType: ...

    def line(self) -> str:
        """One line of progress."""

    def told(self, event: ModelEvent) -> str:
        """A model event in one line."""


class Director(Protocol):
    @property
    def written(self) -> int: ...

    @property
    def finished(self) -> bool: ...

    def step(self, now: float) -> None: ...


class Watch(Protocol):
    @property
    def accounted(self) -> int: ...

    @property
    def events(self) -> Sequence[ModelEvent]: ...

    def look(self) -> Sequence[ModelEvent]: ...


Demo = Callable[[argparse.Namespace, Console, Path], int]


def run(demo: Demo, options: argparse.Namespace) -> int:
    """Run a demo in its folder, with the signals in hand. Returns the exit code."""
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
        return demo(options, console, work.resolve())
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


def trained_models(console: Console, bench: Workbench, seed: int) -> Path:
    """The folder of the trained models, from the cache where they are there."""
    cache = ROOT / ".cache" / "demo"
    bench.ask("train_models", cache=str(cache), seed=seed)
    with console.status("Training the models; Flink starts meanwhile") if console.is_terminal else _nothing():
        return Path(bench.wait(300))


def play(total: int, director: Director, watch: Watch, job: Job, refresh: Refresh) -> None:
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
        time.sleep(_POLL_S)


class Refresh:
    """Brings the display up to date where it is time, or `now`."""

    def __init__(self, console: Console, show: Show, live: Live | None) -> None:
        self._console, self._show, self._live = console, show, live
        self._next = 0.0

    def say(self, lines: Sequence[str]) -> None:
        """Where there is no live table, in lines of their own."""
        if self._live is None:
            for line in lines:
                self._console.print(line, markup=False, soft_wrap=True)

    def __call__(self, now: bool, events: Sequence[ModelEvent] = ()) -> None:
        self.say([self._show.told(event) for event in events])
        if now or time.monotonic() >= self._next:
            self._next = time.monotonic() + (_LINE_S if self._live is None else _FRAME_S)
            if self._live is None:
                self._console.print(self._show.line(), markup=False, soft_wrap=True)
            else:
                self._live.update(self._show.panel(), refresh=True)


@contextlib.contextmanager
def display(console: Console, show: Show) -> Iterator[Refresh]:
    """A live table on a terminal, else plain lines."""
    if not console.is_terminal:
        yield Refresh(console, show, None)
        return
    with Live(show.panel(), console=console, auto_refresh=False) as live:
        yield Refresh(console, show, live)


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield


def predictions_of(answers: list[dict[str, Any]]) -> dict[Version, Prediction]:
    """What the workbench predicted."""
    return {(a["data_type"], a["version"]): Prediction(a["digest"], a["scores"]) for a in answers}


def every(seconds: float, ask: Callable[[], bool]) -> Callable[[], bool]:
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
    ignore_signals()
    raise KeyboardInterrupt


def ignore_signals() -> None:
    """A second Ctrl-C must not cut the stopping short."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
