"""A standalone Flink cluster from the apache-flink wheel, with deploy/flink-conf and the locked jars."""

from __future__ import annotations

import importlib.util
import re
import string
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devservices.flink_rest import FlinkRest
from devservices.process import ROOT, Process, Service, ServiceError, environment, free_port, jars

CONF = ROOT / "deploy" / "flink-conf"


def flink_home() -> Path:
    """The pyflink package's folder, which is laid out as a Flink distribution."""
    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise ServiceError("apache-flink is not installed: run scripts/setup.")
    return Path(spec.origin).parent


def read_settings(text: str, places: Mapping[str, str]) -> dict[str, str]:
    """The `key: value` lines of deploy/flink-conf/config.yaml, `${NAME}` filled from `places`."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    pairs = (string.Template(line).substitute(places).split(": ", 1) for line in lines)
    return dict(pairs)


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
        self.rest = FlinkRest(f"http://127.0.0.1:{rest_port or free_port()}")
        self.job_manager: Process | None = None
        self.task_managers: list[Process] = []
        self._started = 0
        self._lay_out(settings or {})

    def start(self) -> None:
        self.job_manager = self._process("jobmanager")
        for _ in range(self.count):
            self.task_managers.append(self._process("taskmanager"))
        self.wait_registered()

    def stop(self) -> None:
        running = [*self.task_managers, *([self.job_manager] if self.job_manager else [])]
        for process in running:
            process.stop()
        self.task_managers, self.job_manager = [], None

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
        command = [str(self.home / "bin" / "flink"), "run", "-d"]
        command += ["-s", savepoint] if savepoint else []
        command += ["-p", str(parallelism)] if parallelism else []
        command += ["-pyexec", sys.executable, "-pyclientexec", sys.executable]
        command += ["-pyfs", pyfs] if pyfs else []
        command += ["-py", str(job), *arguments]
        # Own group, input closed: a Ctrl-C at the terminal does not leave half a submission behind.
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
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
        """Stop the job; returns the path of its savepoint. A task manager that ended with the job, as in
        process mode it can, is started again, as a supervisor would."""
        savepoint = self.rest.stop_with_savepoint(job_id, f"{self.data.as_uri()}/savepoints")
        for index, process in reversed([*enumerate(self.task_managers)]):
            if process.exit_code is not None:
                self.kill_task_manager(index)
                self.add_task_manager()
        return savepoint

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

    def _process(self, script: str) -> Process:
        self._started += 1
        name = f"{script}-{self._started}"
        command: list[str | Path] = ["bash", self.home / "bin" / f"{script}.sh", "start-foreground"]
        return Process(name, command, self.folder / f"{name}.log", {**self.env, "FLINK_IDENT_STRING": name})

    def _lay_out(self, settings: Mapping[str, str]) -> None:
        """Make conf/, lib/ and plugins/ of our own; the scripts stay in the wheel, which is only read."""
        self.home = flink_home()
        conf, lib, plugins = (self.folder / name for name in ("conf", "lib", "plugins"))
        for folder in (conf, lib, self.data, self.folder / "log", plugins / "s3-fs-hadoop"):
            folder.mkdir(parents=True)
        for jar in [
            *(self.home / "lib").glob("*.jar"),
            *jars("lib").glob("*.jar"),
            *(self.home / "opt").glob("flink-python-*.jar"),
        ]:
            (lib / jar.name).symlink_to(jar)
        for jar in jars("plugins/s3-fs-hadoop").glob("*.jar"):
            (plugins / "s3-fs-hadoop" / jar.name).symlink_to(jar)
        for logging in CONF.glob("*.properties"):
            (conf / logging.name).write_text(logging.read_text())
        merged = read_settings(
            (CONF / "config.yaml").read_text(),
            {"PYTHON": sys.executable, "DATA": self.data.as_uri()},
        )
        merged |= {
            "rest.port": self.rest.url.rsplit(":", 1)[1],
            "jobmanager.rpc.port": str(free_port()),
            "io.tmp.dirs": str(self.folder / "tmp"),
            **settings,
        }
        (self.folder / "tmp").mkdir()
        (conf / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in merged.items()))
        self.env = {
            **environment(),
            # A worker of process mode would find packages in the folder that this was started in, a checkout,
            # before those that its job brings.
            "PYTHONSAFEPATH": "1",
            "FLINK_HOME": str(self.home),
            "FLINK_CONF_DIR": str(conf),
            "FLINK_LIB_DIR": str(lib),
            "FLINK_PLUGINS_DIR": str(plugins),
            "FLINK_OPT_DIR": str(self.home / "opt"),
            "FLINK_LOG_DIR": str(self.folder / "log"),
            "FLINK_PID_DIR": str(self.folder / "log"),
        }
