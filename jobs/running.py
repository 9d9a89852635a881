"""How a job is run, whatever it does."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from py4j.protocol import Py4JError, Py4JJavaError
from pyflink.datastream import StreamExecutionEnvironment

from jobs.settings.run import RunSettings, S, settings_of
from jobs.thread_mode import HIDDEN_CAUSE, ON_A_TASK_MANAGER, check_thread_mode
from operators.environment import FlinkSpec, make_environment, submitted
from schemas.errors import MillraceError
from udfs.models.python_holes import check_python

Build = Callable[[StreamExecutionEnvironment, S], None]


def run(build: Build[S], kind: type[S], arguments: list[str], check: Callable[[S], None]) -> int:
    """Run a job to its end, or submit it. Returns the exit code; an error is one sentence on stderr.

    `check` asks, before Flink starts, whether what the settings name is there; so is what thread mode needs,
    where the job brings its own mini cluster.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        check_python()
        settings = settings_of(kind, arguments)
        check(settings)
        if not submitted() and _mode(settings) == "thread":
            check_thread_mode()
        env = make_environment(_flink(settings))
        build(env, settings)
        env.execute(settings.name)
    except MillraceError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except _Stopped:
        print("stopped", file=sys.stderr)
        return 130
    except Py4JJavaError as e:
        print(f"error: the job failed: {_root_cause(e)}", file=sys.stderr)
        return 1
    except Py4JError:
        print("error: Flink's JVM ended under the job; its log says why", file=sys.stderr)
        return 1
    return 0


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM. Py4J logs a traceback of a KeyboardInterrupt before it lets it through."""


def _stop(number: int, frame: object) -> None:
    raise _Stopped


def _root_cause(error: Py4JJavaError) -> str:
    cause = error.java_exception
    while cause.getCause() is not None:
        cause = cause.getCause()
    text = str(cause.toString()).strip()
    return f"{text}: {ON_A_TASK_MANAGER}" if HIDDEN_CAUSE in text else text


def _mode(settings: RunSettings) -> str:
    return settings.flink.get("python.execution-mode", settings.mode)


def _flink(settings: RunSettings) -> FlinkSpec:
    folder = settings.jars / "lib" if settings.jars and not submitted() else None
    seconds = settings.checkpoint_seconds
    return FlinkSpec(
        mode=settings.mode,
        parallelism=settings.parallelism,
        checkpoint_ms=None if seconds is None else int(seconds * 1000),
        jars=sorted(jar for own in settings.own_jars for jar in folder.glob(own)) if folder else (),
        options=settings.own_options | settings.flink,
    )
