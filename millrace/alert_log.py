"""What came of alerts: the log of `millrace on-alert`, and the topic that may say so too."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from schemas.lifecycle.alert_run import AlertRun, RunState
    from udfs.lifecycle.drift.alerts import ReadAlert


class AlertLog:
    """What came of alerts: lines that are on disk before anything follows from them."""

    def __init__(self, path: Path, command: str, send: Callable[[AlertRun, bytes], None]) -> None:
        self._path, self._command, self._send = path, command, send

    def begin(self) -> set[str]:
        """The alerts that earlier runs have settled. A run that never ended is written down as such."""
        from schemas.errors import SourceError, StatisticsError  # noqa: PLC0415
        from schemas.lifecycle.alert_run import read_run  # noqa: PLC0415
        from udfs.lifecycle.watching.alert_runs import settled  # noqa: PLC0415

        runs = []
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._path.open("ab")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lines = self._path.read_bytes().splitlines(keepends=True)
        except BlockingIOError:
            raise SourceError(
                f"another millrace on-alert has the log {self._path}: give this one its own"
            ) from None
        except OSError as e:
            raise SourceError(f"the log {self._path} cannot be read: {e.strerror or e}") from None
        for number, line in enumerate(lines, 1):
            try:
                runs.append(read_run(line))
            except StatisticsError as e:
                if number == len(lines) and not line.endswith(b"\n"):  # we ended while it was written
                    os.truncate(self._path, sum(map(len, lines[:-1])))
                    continue
                raise StatisticsError(f"{self._path}, line {number}: {e}") from None
        if lines and runs and len(runs) == len(lines) and not lines[-1].endswith(b"\n"):
            self._lock.write(b"\n")  # only the end of the line was lost: the next one is one of its own
            self._lock.flush()
        ids, open_runs = settled(runs)
        for run in open_runs:
            import msgspec  # noqa: PLC0415

            reason = "the process that ran the command is gone"
            self._put(msgspec.structs.replace(run, state="interrupted", at=_now(), reason=reason))
        return ids

    def write(
        self,
        state: RunState,
        alerts: Sequence[ReadAlert],
        *,
        code: int | None = None,
        started: float | None = None,
        reason: str = "",
    ) -> None:
        """`started`: of the command, on the monotonic clock."""
        from schemas.lifecycle.alert_run import AlertRun  # noqa: PLC0415
        from udfs.lifecycle.drift.alerts import sentence  # noqa: PLC0415

        run = AlertRun(
            state=state,
            alerts=tuple(one.id for one in alerts),
            at=_now(),
            command=self._command,
            data_types=tuple(dict.fromkeys(one.alert.data_type for one in alerts)),
            text="; ".join(sentence(one.alert) for one in alerts)[:4000],
            code=code,
            seconds=0.0 if started is None else round(time.monotonic() - started, 3),
            reason=reason,
        )
        self._put(run)

    def _put(self, run: AlertRun) -> None:
        from schemas.lifecycle.alert_run import write_run  # noqa: PLC0415

        line = write_run(run)
        with self._path.open("ab") as out:
            out.write(line + b"\n")
            out.flush()
            os.fsync(out.fileno())
        code = "" if run.code is None else f", exit code {run.code}, {run.seconds:g} s"
        typer.echo(f"{run.state.replace('_', ' ')}: {run.text}{code}{run.reason and ': ' + run.reason}")
        self._send(run, line)


def sender(bootstrap: str | None, topic: str, client: list[str] | None) -> Callable[[AlertRun, bytes], None]:
    """What sends an `AlertRun`, as JSON, to a topic and waits for it; without a topic it does nothing."""
    if not topic or bootstrap is None:
        return lambda run, line: None

    def send(run: AlertRun, line: bytes) -> None:
        from millrace import kafka_stream  # noqa: PLC0415
        from millrace.values import parse_pairs  # noqa: PLC0415
        from schemas.errors import SourceError  # noqa: PLC0415

        key = ",".join(run.data_types).encode()
        settings = parse_pairs(client, "--client")
        try:
            kafka_stream.send(
                bootstrap, topic, key=key, beside=key, value=line, client=settings, timeout_s=15.0
            )
        except SourceError as e:  # the log has it: a broker that is away is no reason to end
            typer.echo(f"Not sent: {e}", err=True)

    return send


def _now() -> int:
    return time.time_ns() // 1_000_000
