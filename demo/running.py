"""What every demo runs in: a folder of its own, a display, and an end that leaves nothing behind."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rich.console import Console

from demo.director import Director
from demo.display import Display, Facts
from demo.job import DemoError, Jobs
from demo.panel import WIDTH
from demo.verdict import Verdict
from demo.workbench import Workbench, WorkbenchError
from devservices.process import ServiceError, environment

_POLL_S = 0.1  # a look at the folders of history takes some milliseconds
_SILENCE_S = 300  # the batch job of a training set says nothing while it works
_LINGER_S = 2.5  # two checkpoints: time for a result that should not come
_INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Run:
    """One run in the folder `work`. What a demo starts goes to `cleanup`; `started` in epoch seconds."""

    options: argparse.Namespace
    console: Console
    work: Path
    cleanup: contextlib.ExitStack
    started: float = field(default_factory=time.time)
    jobs: Jobs = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.cleanup)

    def workbench(self, module: str = "demo.workbench") -> Workbench:
        """The data scientist's side: the program `module`."""
        scratch = self.work / "scratch"
        scratch.mkdir(exist_ok=True)
        bench = Workbench(self.work / "workbench.log", {**environment(), "TMPDIR": str(scratch)}, module)
        self.cleanup.callback(bench.close)
        return bench

    def show(
        self,
        facts: Facts,
        director: Director,
        look: Callable[[], Sequence[str]],
        judge: Callable[[], Verdict],
    ) -> int:
        """Show a demo until its end, and its verdict. Returns the exit code.

        `look` takes in what has come out and returns what is to be told of it. Raises `DemoError` when a job
        ends or nothing happens any more.
        """
        with Display(self.console, facts, self.started) as display:
            self._play(display, director, look)
            display.say("checking every result")
            verdict = judge()
            verdict.missing += director.missing()
            display.say("done")
        display.end(verdict)
        return 0 if verdict.good else 1

    def _play(self, display: Display, director: Director, look: Callable[[], Sequence[str]]) -> None:
        heard, progress, until = time.monotonic(), director.progress, float("inf")
        while (now := time.monotonic()) < until:
            self.jobs.check()
            director.step(now)
            display.tell(look())
            display.refresh()
            if progress != (progress := director.progress):
                heard = now
            if director.finished:
                until = min(until, now + _LINGER_S)
            elif now - heard > _SILENCE_S:
                if director.over:
                    return  # the judge will name what is missing
                waits = ", ".join(director.missing())
                raise DemoError(f"nothing has happened for {_SILENCE_S} s: {waits}.\n{self.jobs.tails()}")
            time.sleep(_POLL_S)


def run(demo: Callable[[Run], int], options: argparse.Namespace) -> int:
    """Run a demo in its folder, with the signals in hand. Returns the exit code."""
    console = Console(highlight=False)
    if console.is_terminal and console.width > WIDTH:
        console = Console(highlight=False, width=WIDTH)
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    # A proxy is for the world outside; Flink's own interface is on this machine.
    os.environ["no_proxy"] = ",".join(filter(None, (os.environ.get("no_proxy"), "127.0.0.1")))
    work = options.keep or Path(tempfile.mkdtemp(prefix="millrace-demo-"))
    keep = options.keep is not None
    try:
        with contextlib.ExitStack() as cleanup:
            try:
                return demo(Run(options, console, work.resolve(), cleanup))
            finally:
                _ignore_signals()
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


def _interrupt(number: int, frame: FrameType | None) -> None:
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    """A second Ctrl-C must not cut the stopping short."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
