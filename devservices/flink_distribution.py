"""Flink from the apache-flink wheel: its folders, its configuration and its command lines."""

from __future__ import annotations

import functools
import importlib.util
import string
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devservices.class_archive import ClassArchive
from devservices.process import ROOT, ServiceError, environment, free_port, jars, java

CONF = ROOT / "deploy" / "flink-conf"
# program -> its class, and what Flink works out of the configuration for it
_MANAGERS = {
    "jobmanager": ("runtime.entrypoint.StandaloneSessionClusterEntrypoint", "GET_JM_RESOURCE_PARAMS"),
    "taskmanager": ("runtime.taskexecutor.TaskManagerRunner", "GET_TM_RESOURCE_PARAMS"),
}
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"


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


class FlinkDistribution:
    """Flink with a configuration of its own, laid out in `folder`; the wheel is only read.

    Its programs are started as its scripts start them, but without the scripts: these run four more JVMs
    before each task manager, to read the configuration and to divide the memory once more. `env` is what a
    program needs, and `flink run` in another terminal too.
    """

    def __init__(self, folder: Path, data: Path, rest_port: int, settings: Mapping[str, str]) -> None:
        self._folder, self._home = folder, flink_home()
        conf, lib, plugins = (folder / name for name in ("conf", "lib", "plugins"))
        for made in (conf, lib, data, folder / "log", folder / "tmp", plugins / "s3-fs-hadoop"):
            made.mkdir(parents=True)
        for jar in [
            *(self._home / "lib").glob("*.jar"),
            *jars("lib").glob("*.jar"),
            *(self._home / "opt").glob("flink-python-*.jar"),
        ]:
            (lib / jar.name).symlink_to(jar)
        for jar in jars("plugins/s3-fs-hadoop").glob("*.jar"):
            (plugins / "s3-fs-hadoop" / jar.name).symlink_to(jar)
        for logging in CONF.glob("*.properties"):
            (conf / logging.name).write_text(logging.read_text())
        text = (CONF / "config.yaml").read_text()
        self.settings = {
            **read_settings(text, {"PYTHON": sys.executable, "DATA": data.as_uri()}),
            "rest.port": str(rest_port),
            "jobmanager.rpc.port": str(free_port()),
            "io.tmp.dirs": str(folder / "tmp"),
            **settings,
        }
        # Flink's own classes last, as its scripts put them
        found = sorted(lib.glob("*.jar"), key=lambda jar: ("flink-dist" in jar.name, jar.name))
        self._classes = [jar.resolve() for jar in found]
        self._archives = {name: ClassArchive(name, self._classes) for name in (*_MANAGERS, "client")}
        lines = (f"{key}: {value}\n" for key, value in self.settings.items())
        (conf / "config.yaml").write_text("".join(lines))
        self.env = {
            **environment(),
            # A worker of process mode would find packages in the folder that this was started in, a checkout,
            # before those that its job brings.
            "PYTHONSAFEPATH": "1",
            "FLINK_HOME": str(self._home),
            "FLINK_BIN_DIR": str(self._home / "bin"),
            "FLINK_CONF_DIR": str(conf),
            "FLINK_LIB_DIR": str(lib),
            "FLINK_PLUGINS_DIR": str(plugins),
            "FLINK_OPT_DIR": str(self._home / "opt"),
            "FLINK_LOG_DIR": str(folder / "log"),
        }

    def client(self, *arguments: str) -> list[str | Path]:
        """`flink ARGUMENTS...`"""
        return [*self._java("client", "cli", (), "client.cli.CliFrontend"), *arguments]

    def manager(self, program: str, name: str) -> list[str | Path]:
        """A `jobmanager` or `taskmanager`; its log in Flink's folder is called `name`."""
        main, _ = _MANAGERS[program]
        options, dynamic = self._resources(program)
        configured = ["--configDir", self.env["FLINK_CONF_DIR"]]
        return [*self._java(name, "console", options, main, program), *dynamic, *configured]

    def _java(
        self, name: str, logging: str, options: tuple[str, ...], main: str, program: str = "client"
    ) -> list[str | Path]:
        given = [self.settings.get(f"env.java.opts.{of}", "") for of in ("all", program)]
        log = [
            f"-Dlog.file={self._folder / 'log' / name}.log",
            f"-Dlog4j.configurationFile={(self._folder / 'conf').as_uri()}/log4j-{logging}.properties",
        ]
        unknown, archive = "-XX:+IgnoreUnrecognizedVMOptions", self._archives[program].options()
        more = [*options, unknown, *" ".join(given).split(), *archive, *log]
        return java(*more, "-cp", ":".join(map(str, self._classes)), f"org.apache.flink.{main}")

    def ended(self, program: str, *, well: bool = True) -> None:
        """Call it when a `client`, or all managers of a kind, have ended: the next ones start sooner."""
        self._archives[program].ended(well=well)

    @functools.cache  # noqa: B019 - lives as long as the cluster
    def _resources(self, program: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """How Flink divides the memory of the program: options of its JVM, and arguments."""
        classes = [self._home / "bin" / "bash-java-utils.jar", *(self._home / "lib").glob("flink-dist-*.jar")]
        command = java(
            "-cp", ":".join(map(str, classes)), "org.apache.flink.runtime.util.bash.BashJavaUtils",
            _MANAGERS[program][1], "--configDir", self.env["FLINK_CONF_DIR"],
        )  # fmt: skip
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        told = [x.removeprefix(_RESULT).split() for x in done.stdout.splitlines() if x.startswith(_RESULT)]
        if done.returncode or len(told) != 2:
            raise ServiceError(f"Flink refuses its configuration.\n{done.stdout}{done.stderr}")
        return tuple(told[0]), tuple(told[1])
