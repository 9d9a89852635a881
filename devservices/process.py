"""Processes of a service: start, wait until it answers, stop, kill; and the environment they need."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
_FIRST_PORT = 18_000
"""Below are the usual ports of servers: of Kafka, Redis, Postgres, Flink, notebooks."""


class ServiceError(Exception):
    """A service did not start, did not answer or refused a request; the message ends with its log."""


@functools.cache
def environment() -> Mapping[str, str]:
    """The environment scripts/env.sh makes of this process's own: the one place that says so."""
    script = ROOT / "scripts" / "env.sh"
    done = subprocess.run(
        ["bash", "-c", 'source "$0" && env -0', str(script)], capture_output=True, text=True, check=True
    )
    found = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if "=" in entry)
    if "JAVA_HOME" not in found:
        raise ServiceError("no Java 17 or 11 was found: run scripts/setup.")
    return found


def java(*arguments: str | Path) -> list[str | Path]:
    """The command line of a Java program, with JVM_ARGS, which Flink's scripts read too."""
    options = environment().get("JVM_ARGS", "").split()
    return [Path(environment()["JAVA_HOME"]) / "bin" / "java", *options, *arguments]


def jars(where: str) -> Path:
    """The folder of locked jars `where` of deploy/connectors.lock; ServiceError if not installed."""
    folder = Path(environment()["MILLRACE_JARS"]) / where
    if not any(folder.glob("*.jar")):
        raise ServiceError(f"no jars in {folder}: run scripts/setup.")
    return folder


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago.

    It is none of those that the kernel gives to who asks for any port: a server whose own next socket got the
    port that was chosen for it here does not start.
    """
    first = _first_given_port()
    for port in random.sample(range(_FIRST_PORT, first), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServiceError(f"no free port was found between {_FIRST_PORT} and {first}.")


def _first_given_port() -> int:
    with contextlib.suppress(OSError):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        if first > _FIRST_PORT + 1000:
            return first
    return 32768  # as Linux has it by default


def wait_until(
    probe: Callable[[], bool], seconds: float, otherwise: Callable[[], str], every: float = 0.1
) -> None:
    """Poll `probe` every so many seconds until it is true; ServiceError(otherwise()) after `seconds`."""
    end = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > end:
            raise ServiceError(f"{otherwise()} (waited {seconds:g} s)")
        time.sleep(every)


class Process:
    """A command in a process group of its own, under `guard`, its output in a file.

    `group` is the id to signal: guard, command and all descendants share it.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.log = name, log
        guard = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))]
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [*guard, *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment(), **(env or {})},
                start_new_session=True,
            )
        self.group = self._guard.pid

    @property
    def exit_code(self) -> int | None:
        """The command's exit code, None while it runs."""
        return self._guard.poll()

    def wait_ready(self, probe: Callable[[], bool], seconds: float = 90) -> None:
        """Poll `probe`; ServiceError with the log's tail when the command ends or time is up."""

        def ready() -> bool:
            if self.exit_code is not None:
                raise ServiceError(f"{self.name} ended with code {self.exit_code}.\n{self.tail()}")
            return probe()

        wait_until(ready, seconds, lambda: f"{self.name} does not answer.\n{self.tail()}\n")

    def terminate(self) -> None:
        """Ask the group to end."""
        self._signal(signal.SIGTERM)

    def stop(self, grace: float = 20) -> None:
        """Ask the group to end, wait up to `grace` seconds, then kill what is left of it."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(grace)
        self.kill()

    def kill(self) -> None:
        """Kill the group at once, as a lost machine would, and reap it."""
        self._signal(signal.SIGKILL)
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()

    def tail(self, lines: int = 40) -> str:
        """The last lines of the log."""
        text = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"--- {self.log.name}", *text[-lines:]])

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, number)


class Service:
    """Base of the services: a folder of its own, `start`, `stop`, `kill`, and a with-block for it all.

    `start` after `stop` or `kill` brings the service back on the same ports with the same data.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"millrace-{type(self).__name__.lower()}-"))

    def start(self) -> None:
        """Start and return when it answers."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop in order; no process is left."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop and remove the folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Daemon(Service):
    """A service that is one process."""

    def __init__(self) -> None:
        super().__init__()
        self.process: Process | None = None

    def run(self, command: Sequence[str | Path], probe: Callable[[], bool]) -> None:
        """Run `command` as the service's process, until `probe` says that it answers."""
        name = type(self).__name__
        self.process = Process(name, command, self.folder / f"{name.lower()}.log")
        self.process.wait_ready(probe)

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def kill(self) -> None:
        """Kill it as a lost machine would."""
        if self.process is not None:
            self.process.kill()
