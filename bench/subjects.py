"""What is measured: each a context that is entered when it has its model and waits for records."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from bench.model import descriptor
from bench.plan import BenchError
from bench.workload import DATA_TYPE, OUTPUTS, Topics
from devservices.flink_cluster import StandaloneCluster
from devservices.flink_rest import ENDED
from devservices.process import ROOT, Process, wait_until
from schemas.results.records import EventKind, ModelEvent, decode

READY_S = 180


class Subject(Protocol):
    """A running program under measurement. `mark`: bytes that each scored result has."""

    mark: bytes

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def roots(self) -> Sequence[int]:
        """Process ids whose trees do the work."""

    def check(self) -> None:
        """BenchError with the log's tail if it has ended."""

    def tail(self) -> str:
        """The last lines of its logs."""


Make = Callable[[Topics], Subject]


class Program:
    """A program of one process that reads the topic, scores and writes, and says `ready` before."""

    mark = b'"score":'

    def __init__(self, name: str, command: Sequence[str | Path]) -> None:
        self._name, self._command = name, command
        self._folder = tempfile.TemporaryDirectory(prefix="millrace-bench-")
        self._process: Process | None = None

    def __enter__(self) -> Self:
        log = Path(self._folder.name) / f"{self._name}.log"
        self._process = process = Process(self._name, self._command, log)
        try:
            process.wait_ready(lambda: "ready" in log.read_text(errors="replace").splitlines(), READY_S)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.stop(5)
        self._folder.cleanup()

    def roots(self) -> Sequence[int]:
        assert self._process is not None
        return [self._process.group]

    def check(self) -> None:
        assert self._process is not None
        if self._process.exit_code is not None:
            raise BenchError(f"{self._name} ended with code {self._process.exit_code}.\n{self.tail()}")

    def tail(self) -> str:
        return self._process.tail() if self._process is not None else ""


def bare_loop(topics: Topics, model: Path, batch: int) -> Program:
    """The bare loop with batches of `batch` records."""
    program = ["-m", "bench.bare_loop", topics.broker.bootstrap]
    names = (topics.name("records"), topics.name("results"))
    command = [sys.executable, *program, *names, str(model), str(batch)]
    return Program("bare-loop", command)


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Which job: a file of jobs/, or a path in the checkout; `thread` or `process`; how many instances.

    Where there is more than one, they are slots of one task manager.
    """

    job: str = "serve.py"
    mode: str = "thread"
    exactly_once: bool = False
    parallelism: int = 1

    def __str__(self) -> str:
        once = ", exactly once" if self.exactly_once else ""
        return f"{self.job}, {self.mode} mode{once}, {self.parallelism} instance(s)"

    @property
    def script(self) -> Path:
        return ROOT / self.job if "/" in self.job else ROOT / "jobs" / self.job

    @property
    def cluster_settings(self) -> dict[str, str]:
        if self.parallelism == 1:
            return {}
        return {
            "taskmanager.numberOfTaskSlots": str(self.parallelism),
            "taskmanager.memory.process.size": "6g",
            # as many buffers as connections between that many instances want
            "taskmanager.memory.network.max": "1g",
        }


class ClusterJob:
    """A job on a cluster of its own, deploy/flink-conf: task managers of one slot, or of one an instance.

    Entered when every task runs and it is ready.
    """

    def __init__(self, spec: JobSpec, task_managers: int = 1) -> None:
        self._spec = spec
        self.cluster = StandaloneCluster(task_managers, spec.cluster_settings)
        self.job_id = ""

    def prepare(self) -> None:
        """What is done when the cluster runs, and the job does not."""

    def settings(self) -> dict[str, str]:
        """The job's settings, by the names of its flags."""
        return {}

    def wait_ready(self) -> None:
        """Return when records can come."""

    def __enter__(self) -> Self:
        try:
            self.cluster.start()
            self.prepare()
            flags = [part for name, value in self.settings().items() for part in (f"--{name}", value)]
            self.job_id = self.cluster.run(self._spec.script, *flags, parallelism=self._spec.parallelism)
            self.cluster.wait_running(self.job_id, READY_S)
            self.wait_ready()
        except BaseException:
            self.cluster.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is measured has been measured: no savepoint, no grace.
        for process in (*self.cluster.task_managers, self.cluster.job_manager):
            if process is not None:
                process.kill()
        self.cluster.close()

    def roots(self) -> Sequence[int]:
        """Task managers with their Python workers, and job manager."""
        processes = (*self.cluster.task_managers, self.cluster.job_manager)
        return [process.group for process in processes if process is not None]

    def check(self) -> None:
        rest = self.cluster.rest
        state, failures = rest.state(self.job_id), rest.exceptions(self.job_id)
        if state in ENDED or failures:
            raise BenchError(f"{self._spec} is {state} and failed.\n{failures}\n{self.tail()}")

    def tail(self) -> str:
        return self.cluster.logs(30)


class ServingJob(ClusterJob):
    """A serving job, whose models are published before it starts."""

    mark = b'"outcome":"scored"'

    def __init__(self, topics: Topics, model: Path, spec: JobSpec, task_managers: int = 1) -> None:
        super().__init__(spec, task_managers)
        self.topics, self._model = topics, model

    def publications(self) -> list[bytes]:
        """What is put on the model stream before the job starts."""
        return [descriptor(self._model)]

    def wait_ready(self) -> None:
        """Return when what was published is in force."""
        self.wait_served({DATA_TYPE: 1})

    def prepare(self) -> None:
        self.topics.publish(*self.publications())

    def wait_served(self, versions: dict[str, int], seconds: float = READY_S) -> None:
        """Return when each data type is served by that version; BenchError if one is refused."""
        self.wait_told({(EventKind.SERVED, *each) for each in versions.items()}, seconds)

    def wait_told(self, events: Set[tuple[EventKind, str, int]], seconds: float = READY_S) -> None:
        """Return when there was an event of each (kind, data type, version); BenchError on a refusal."""
        waiting = set(events)
        # Events of an exactly-once job are in a transaction that is still open.
        reader = self.topics.reader("model-events", **{"isolation.level": "read_uncommitted"})

        def served() -> bool:
            for message in reader.consume(100, 0.1):
                if message.error() is not None:
                    continue
                event = decode(ModelEvent, message.value() or b"")
                if event.kind == EventKind.REFUSED:
                    raise BenchError(f"the job refused the model: {event.step}: {event.reason}")
                waiting.discard((event.kind, event.data_type, event.version))
            if waiting:
                self.check()
            return not waiting

        with closing(reader):
            wait_until(served, seconds, lambda: f"{waiting} did not come.\n{self.tail()}\n")

    def settings(self) -> dict[str, str]:
        """The job's settings, by the names of its flags."""
        topics, spec = self.topics, self._spec
        return {
            "name": f"bench-{topics.prefix}",
            "mode": spec.mode,
            "kafka.bootstrap": topics.broker.bootstrap,
            "kafka.group": topics.prefix,
            "kafka.start": "earliest",
            "kafka.records": json.dumps({topics.name("records"): DATA_TYPE}),
            # The records come in a transaction, which opens the stream for all at one moment.
            "kafka.client": json.dumps({"isolation.level": "read_committed"}),
            "kafka.exactly-once": str(spec.exactly_once).lower(),
            # what a model costs in memory is seen by many, each for a data type of its own
            "models.new-types": "true",
            **{f"kafka.{which}": topics.name(which) for which in ("models", "results", *OUTPUTS)},
        }
