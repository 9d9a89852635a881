"""`millrace on-alert`: a command that runs when a stream has changed."""

from __future__ import annotations

import shlex
import signal
import tempfile
import time
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.alert_log import AlertLog, sender
from millrace.options import Bootstrap, Client, either

if TYPE_CHECKING:
    from millrace.alert_streams import AlertStream
    from schemas.lifecycle.alert_run import RunState
    from udfs.lifecycle.drift.alerts import ReadAlert
    from udfs.lifecycle.watching.alert_runs import AlertQueue

_LOOK_S = 0.2


class _Stop(BaseException):
    """SIGTERM or Ctrl-C."""


def on_alert(
    *,
    run: Annotated[
        str, typer.Option("--run", help="The command and its arguments, without a shell: 'sh -c ...' is one.")
    ],
    log: Annotated[
        Path,
        typer.Option("--log", help="JSON lines of what came of alerts. An alert in it causes no run again."),
    ],
    from_folder: Annotated[
        Path | None, typer.Option("--from-folder", envvar="MILLRACE_ALERTS_FOLDER", help="Alerts as lines.")
    ] = None,
    bootstrap: Bootstrap = None,
    topic: Annotated[
        str, typer.Option("--topic", envvar="MILLRACE_ALERTS_TOPIC", help="The topic of alerts.")
    ] = "alerts",
    group: Annotated[
        str, typer.Option("--group", help="Consumer group; its offsets are what is settled.")
    ] = ("millrace-on-alert"),
    client: Client = None,
    from_beginning: Annotated[
        bool,
        typer.Option("--from-beginning", help="A new group begins with the alerts that are there already."),
    ] = False,
    events_topic: Annotated[
        str, typer.Option("--events-topic", help="A topic for what came of alerts, beside the log.")
    ] = "",
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="drift, anomaly, quality or outlier; repeat. Default: all."),
    ] = None,
    data_type: Annotated[
        list[str] | None, typer.Option("--data-type", help="Of which data type; repeat. By default all.")
    ] = None,
    debounce: Annotated[
        float,
        typer.Option("--debounce", min=0, help="Seconds in which alerts after the first share its run."),
    ] = 10.0,
    pause: Annotated[
        float, typer.Option("--pause", min=0, help="Seconds after a run in which alerts cause none.")
    ] = 0.0,
    limit: Annotated[
        float, typer.Option("--limit", min=0.1, help="Seconds that the command may take.")
    ] = 3600.0,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many runs.")] = None,
) -> None:
    """Run a command when alerts come.

    It runs one at a time, for all alerts that come close together, in bounded time.

    The command finds in its environment what happened: MILLRACE_ALERT_FILE (the alerts, CloudEvents as JSON
    lines), _IDS, _COUNT, _TYPES, _DATA_TYPE, _DATA_TYPES, _MODEL, _VERSION, _FEATURES, _METRICS, _START,
    _END, _SINCE (epoch ms) and _TEXT. With --count the exit code is 1 where a command failed.
    """
    from udfs.lifecycle.watching.alert_runs import AlertFilter, AlertQueue  # noqa: PLC0415

    either(from_folder, bootstrap, "--from-folder")
    if not (words := _words(run)):
        raise typer.BadParameter("it names no command", param_hint="--run")
    if odd := sorted(set(kind or ()) - {"drift", "anomaly", "quality", "outlier"}):
        raise typer.BadParameter(f"there is no {odd[0]!r}", param_hint="--kind")
    if events_topic and bootstrap is None:
        raise typer.BadParameter("it needs --bootstrap", param_hint="--events-topic")
    journal = AlertLog(log, run, sender(bootstrap, events_topic, client))
    queue = AlertQueue(
        AlertFilter(frozenset(kind or ()), frozenset(data_type or ())), debounce, pause, journal.begin()
    )
    stream = _stream(from_folder, bootstrap, topic, group, client, from_beginning=from_beginning)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    failed = False
    try:
        for _ in repeat(None) if count is None else repeat(None, count):
            failed = not _next_run(stream, queue, journal, words, limit) or failed
    except _Stop:
        typer.echo("Stopped.", err=True)
        failed = False
    finally:
        stream.close()
    if failed and count is not None:
        raise typer.Exit(1)


def _next_run(
    stream: AlertStream, queue: AlertQueue, journal: AlertLog, words: Sequence[str], limit: float
) -> bool:
    """Wait until alerts are due, run the command for them; whether it did well."""
    from schemas.errors import StatisticsError  # noqa: PLC0415
    from udfs.lifecycle.drift.alerts import read_envelope  # noqa: PLC0415

    raw: dict[str, bytes] = {}
    while not queue.due(time.monotonic()):
        if (data := stream.poll(_LOOK_S)) is None:
            if not raw:
                stream.settled()
            continue
        try:
            alert = read_envelope(data)
        except StatisticsError as e:
            typer.echo(f"Passed over: {e}", err=True)
            continue
        if not queue.add(alert, time.monotonic()):
            journal.write("passed_over", [alert], reason="it came too soon after a run")
        elif alert.id in queue.waiting():
            raw[alert.id] = data
    alerts = queue.take()
    journal.write("started", alerts)
    done = _run(stream, journal, words, limit, alerts=alerts, raw=raw)
    queue.ended(time.monotonic())
    stream.settled()
    return done


def _run(
    stream: AlertStream,
    journal: AlertLog,
    words: Sequence[str],
    limit: float,
    *,
    alerts: list[ReadAlert],
    raw: dict[str, bytes],
) -> bool:
    from millrace.bounded_command import BoundedCommand  # noqa: PLC0415
    from schemas.errors import SettingsError  # noqa: PLC0415
    from udfs.lifecycle.watching.alert_runs import environment_of  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="millrace-alert-") as folder:
        file = Path(folder, "alerts.jsonl")
        file.write_bytes(b"".join(raw[a.id] + b"\n" for a in alerts))
        try:
            command = BoundedCommand(words, environment_of(alerts, str(file)), limit)
        except SettingsError as e:
            journal.write("failed", alerts, reason=str(e))
            return False
        try:
            while (code := command.wait(_LOOK_S)) is None:
                stream.busy()
        except _Stop:
            journal.write(
                "stopped", alerts, code=command.end(), started=command.started, reason="we were stopped"
            )
            stream.settled()
            raise
    state: RunState = "timed_out" if command.timed_out else "failed" if code else "done"
    journal.write(state, alerts, code=code, started=command.started)
    return state == "done"


def _stream(
    folder: Path | None,
    bootstrap: str | None,
    topic: str,
    group: str,
    client: list[str] | None,
    *,
    from_beginning: bool,
) -> AlertStream:
    from millrace.alert_streams import FolderAlerts, TopicAlerts  # noqa: PLC0415
    from millrace.values import parse_pairs  # noqa: PLC0415

    if folder is not None:
        return FolderAlerts(folder)
    assert bootstrap is not None
    settings = parse_pairs(client, "--client")
    return TopicAlerts(bootstrap, topic, group, settings, from_beginning=from_beginning)


def _words(run: str) -> list[str]:
    try:
        return shlex.split(run)
    except ValueError as e:
        raise typer.BadParameter(f"{e}: {run!r}", param_hint="--run") from None


def _stop(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise _Stop
