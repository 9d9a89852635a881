"""The jobs of a demo on Flink's mini cluster, children that never outlive us."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from devservices.flink_rest import FlinkRest
from devservices.process import ROOT, Process, ServiceError, free_port

_ASK_S = 0.3
_QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For a JVM that lives less than a minute: compile quickly rather than well."""


class DemoError(Exception):
    """The demo could not be run to its end."""


def serving(root: Path) -> list[str | Path]:
    """Flags of a job that serves the streams in this folder."""
    return ["--folder.root", root, "--checkpoint-seconds", "1", "--stats-seconds", "1"]


class Job:
    """The job `script` of `jobs/`. All that it writes beside its outputs is in the folder `work`."""

    def __init__(self, work: Path, script: str, flags: Sequence[str | Path]) -> None:
        port = free_port()
        self.scratch = scratch = work / "scratch"
        for folder in (scratch, work / "flink-log"):
            folder.mkdir(parents=True, exist_ok=True)
        flink = {"rest.bind-address": "127.0.0.1", "rest.bind-port": str(port)}
        command: list[str | Path] = [sys.executable, ROOT / "jobs" / script, "--parallelism", "1"]
        command += ["--flink", json.dumps(flink), *flags]
        self.log = work / "job.log"
        self._rest = FlinkRest(f"http://127.0.0.1:{port}")
        self._has_run, self._asked = False, 0.0
        self._process = Process(
            f"jobs/{script}",
            command,
            self.log,
            {
                "TMPDIR": str(scratch),
                "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={scratch} {_QUICK_START}",
                "FLINK_LOG_DIR": str(work / "flink-log"),
            },
        )

    @property
    def exit_code(self) -> int | None:
        return self._process.exit_code

    def has_run(self) -> bool:
        """Whether every task runs or has run; asked as often as you like."""
        if not self._has_run and time.monotonic() >= self._asked + _ASK_S:
            self._has_run, self._asked = self._runs(), time.monotonic()
        return self._has_run

    def _runs(self) -> bool:
        try:
            jobs = list(self._rest.jobs())
            vertices = self._rest.call(f"/jobs/{jobs[0]}")["vertices"] if jobs else []
        except (OSError, ServiceError, ValueError):
            return False  # it is still starting
        return bool(vertices) and all(vertex["status"] == "RUNNING" for vertex in vertices)

    def tail(self) -> str:
        """The last lines of its log."""
        return self._process.tail(30)

    def stop(self) -> None:
        """End it, its JVM and everything they have started."""
        self._process.stop(5)


class Jobs:
    """The jobs of a demo by their scripts; they start when they are asked for, and stop at `cleanup`."""

    def __init__(self, cleanup: contextlib.ExitStack) -> None:
        self._cleanup = cleanup
        self._started: dict[str, Job] = {}
        self._ending: set[str] = set()

    def start(self, script: str, work: Path, flags: Sequence[str | Path], ends: bool = False) -> Job:
        """`ends`: it ends by itself."""
        job = self._started[script] = Job(work, script, flags)
        self._cleanup.callback(job.stop)
        self._ending |= {script} if ends else set()
        return job

    def check(self) -> None:
        """Raises `DemoError` where one has failed, or has ended that should not."""
        for script, job in self._started.items():
            code = job.exit_code
            if code is not None and (code or script not in self._ending):
                raise DemoError(f"jobs/{script} ended with code {code}.\n{job.tail()}")

    def ended(self, script: str) -> bool:
        return script in self._started and self._started[script].exit_code is not None

    def tails(self) -> str:
        """The last lines of their logs."""
        return "\n".join(job.tail() for job in self._started.values())
