"""The Flink environment that all jobs share."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment

# On a mini cluster, which can lose no machine: without bounds a broken job restarts for ever and looks like
# a hang. A real cluster's own restart strategy holds.
BOUNDED_RESTARTS = {
    "restart-strategy.type": "failure-rate",
    "restart-strategy.failure-rate.max-failures-per-interval": "5",
    "restart-strategy.failure-rate.failure-rate-interval": "10 min",
    "restart-strategy.failure-rate.delay": "2 s",
    "slot.request.timeout": "10 s",  # slots are there at once, or their task manager is lost
}


_OWN = "millrace-checkpoints-"


@dataclass(frozen=True, slots=True)
class FlinkSpec:
    """`mode`: thread or process. None leaves a value to the cluster. `options`: any Flink option, wins.

    `jars`: connectors for a job that brings its own mini cluster; on a real one they are in Flink's `lib/`.
    """

    mode: str = "thread"
    parallelism: int | None = None
    checkpoint_ms: int | None = None
    jars: Sequence[Path] = ()
    options: Mapping[str, str] = field(default_factory=dict)


def submitted() -> bool:
    """Whether `flink run` started this process: then a cluster runs the job, with what is in its `lib/`."""
    return "PYFLINK_GATEWAY_PORT" in os.environ


def make_environment(spec: FlinkSpec) -> StreamExecutionEnvironment:
    """An environment with the settings that Millrace is measured with."""
    # Thread mode finds pemja through the first `python` on PATH, and Flink's JVM inherits ours.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    values = {
        "python.execution-mode": spec.mode,
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        # In process mode elements travel in bundles; a micro-batch is a bundle's worth by itself.
        "python.fn-execution.bundle.size": "1",
        "python.fn-execution.bundle.time": "10",
        # Of what sends no micro-batches, which leave at once: a thread for each such output wakes so often.
        "execution.buffer-timeout.interval": "10 ms",
        "pipeline.object-reuse": "true",
        "table.exec.uid.generation": "ALWAYS",
    }
    if spec.checkpoint_ms is not None:
        values["execution.checkpointing.interval"] = f"{spec.checkpoint_ms} ms"
    if not submitted():
        values |= BOUNDED_RESTARTS
        if "execution.checkpointing.dir" not in spec.options:
            values["execution.checkpointing.dir"] = _own_folder().as_uri()
    if spec.jars:
        values["pipeline.jars"] = ";".join(jar.resolve().as_uri() for jar in spec.jars)
    configuration = Configuration()
    for name, value in (values | dict(spec.options)).items():
        configuration.set_string(name, value)
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    if spec.parallelism is not None:
        environment.set_parallelism(spec.parallelism)
    return environment


def checkpoint_folder(env: StreamExecutionEnvironment) -> str:
    """Where the job's checkpoints go, where Python can write there too; else an empty string."""
    configured = env._j_stream_execution_environment.getConfiguration().toMap()
    folder = str(
        configured.get("execution.checkpointing.dir") or configured.get("state.checkpoints.dir") or ""
    )
    if _OWN in folder:  # gone with this process, while a savepoint of it may live on
        return ""
    return folder if folder.startswith(("file:", "s3:")) else ""


def _own_folder() -> Path:
    """For a mini cluster's checkpoints, gone when this process ends.

    Without a folder Flink keeps them in memory, at most 5 MB of an operator's state: a larger model, or
    records that wait for their model, would fail the job.
    """
    folder = Path(tempfile.mkdtemp(prefix=_OWN))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
