"""A standalone Flink cluster from the apache-flink wheel, with deploy/flink-conf and the locked jars."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devservices.flink_distribution import FlinkDistribution
from devservices.flink_rest import FlinkRest
from devservices.process import Process, Service, ServiceError, free_port


class StandaloneCluster(Service):
    """One job manager and `task_managers` task managers of one slot each, on 127.0.0.1.

    `settings` (flat Flink keys) replace or add to deploy/flink-conf/config.yaml. `rest` asks the
    cluster; `data` is the folder of checkpoints and savepoints, gone when the block ends.
    """

    def __init__(
        self, task_managers: int = 1, settings: Mapping[str, str] | None = None, rest_port: int | None = None
    ) -> None:
        super().__init__()
        self.count = task_managers
        self.data = self.folder / "data"
        rest_port = rest_port or free_port()
        self.rest = FlinkRest(f"http://127.0.0.1:{rest_port}")
        self._flink = FlinkDistribution(self.folder, self.data, rest_port, settings or {})
        self.env = self._flink.env
        self.job_manager: Process | None = None
        self.task_managers: list[Process] = []
        self._started = 0

    def start(self) -> None:
        self.job_manager = self._process("jobmanager")
        for _ in range(self.count):
            self.task_managers.append(self._process("taskmanager"))
        self.wait_registered()

    def stop(self) -> None:
        running = [*self.task_managers, *([self.job_manager] if self.job_manager else [])]
        for process in running:
            process.terminate()
        for process in running:
            process.stop()
        self.task_managers, self.job_manager = [], None
        for program in ("jobmanager", "taskmanager"):
            self._flink.ended(program)

    def wait_registered(self, seconds: float = 300) -> None:
        """Return when every started task manager has registered."""
        for process in [self.job_manager, *self.task_managers]:
            if process is not None:
                process.wait_ready(self._all_registered, seconds)

    def run(
        self,
        job: Path,
        *arguments: str,
        savepoint: str | None = None,
        parallelism: int | None = None,
        pyfs: str | None = None,
    ) -> str:
        """`flink run -d -py job arguments...`; returns the job's id. ServiceError with Flink's words."""
        flags = ["-s", savepoint] if savepoint else []
        flags += ["-p", str(parallelism)] if parallelism else []
        flags += ["-pyexec", sys.executable, "-pyclientexec", sys.executable]
        flags += ["-pyfs", pyfs] if pyfs else []
        command = self._flink.client("run", "-d", *flags, "-py", str(job), *arguments)
        # Own group, input closed: a Ctrl-C at the terminal does not leave half a submission behind.
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        self._flink.ended("client", well=done.returncode == 0)
        found = re.search(r"submitted with JobID ([0-9a-f]{32})", done.stdout)
        if done.returncode or found is None:
            output = (done.stdout + done.stderr)[-6000:]
            raise ServiceError(f"flink run {job.name} failed with code {done.returncode}.\n{output}")
        return found[1]

    def wait_running(self, job_id: str, seconds: float = 90) -> None:
        """As `rest.wait_running`; on failure the message ends with the processes' logs."""
        try:
            self.rest.wait_running(job_id, seconds)
        except ServiceError as failure:
            raise ServiceError(f"{failure}\n{self.logs()}") from None

    def stop_with_savepoint(self, job_id: str) -> str:
        """Stop the job; returns the path of its savepoint. Task managers that ended with it are replaced: in
        process mode they can."""
        savepoint = self.rest.stop_with_savepoint(job_id, f"{self.data.as_uri()}/savepoints")
        self.complete()
        return savepoint

    def complete(self) -> None:
        """Start task managers in place of those that have ended or were killed, as a supervisor would."""
        for index in reversed(range(len(self.task_managers))):
            if self.task_managers[index].exit_code is not None:
                self.kill_task_manager(index)
        if len(self.task_managers) < self.count:
            self.add_task_manager(self.count - len(self.task_managers))

    def kill_task_manager(self, index: int) -> None:
        """Kill one task manager with all its Python workers, as a lost machine would, and forget it."""
        self.task_managers.pop(index).kill()

    def add_task_manager(self, count: int = 1) -> None:
        """Start `count` more at once and return when all have registered."""
        before = set(self.rest.task_managers())
        added = [self._process("taskmanager") for _ in range(count)]
        self.task_managers += added
        for process in added:
            process.wait_ready(lambda: len(set(self.rest.task_managers()) - before) >= count, 300)

    def logs(self, lines: int = 40) -> str:
        """The tails of the running processes' logs."""
        running = [self.job_manager, *self.task_managers]
        return "\n".join(process.tail(lines) for process in running if process is not None)

    def _all_registered(self) -> bool:
        return len(self.rest.task_managers()) >= len(self.task_managers)

    def _process(self, program: str) -> Process:
        self._started += 1
        name = f"{program}-{self._started}"
        return Process(name, self._flink.manager(program, name), self.folder / f"{name}.log", self.env)
