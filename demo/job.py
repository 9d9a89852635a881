"""The job of the demo on Flink's mini cluster, a child that never outlives us."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from devservices.flink_rest import FlinkRest
from devservices.process import ROOT, Process, ServiceError, free_port

_QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For a JVM that lives less than a minute: compile quickly rather than well."""


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

    def runs(self) -> bool:
        """Whether every task runs."""
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
