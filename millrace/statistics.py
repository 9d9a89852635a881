"""`millrace statistics`: what `jobs/watch.py` counted, listed by window, or added up into one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.options import Bootstrap, Client, Timeout
from schemas.utc_time import utc_time

if TYPE_CHECKING:
    from schemas.lifecycle.window_statistics import WindowStatistics


def statistics(
    *,
    from_folder: Annotated[
        Path | None, typer.Option("--from-folder", envvar="MILLRACE_STATISTICS_FOLDER", help="JSON lines.")
    ] = None,
    bootstrap: Bootstrap = None,
    topic: Annotated[
        str,
        typer.Option(
            "--topic", envvar="MILLRACE_STATISTICS_TOPIC", help="The topic of statistics of windows."
        ),
    ] = "statistics",
    client: Client = None,
    timeout: Timeout = 15.0,
    data_type: Annotated[str, typer.Option("--data-type", help="Of this data type; by default all.")] = "",
    model: Annotated[str, typer.Option("--model", help="Of results of this model; by default all.")] = "",
    version: Annotated[int | None, typer.Option("--version", help="Of this version.")] = None,
    start: Annotated[
        datetime | None, typer.Option("--from", help="Windows that start at this time (UTC) or later.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--until", help="Windows that start before this time (UTC).")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="Add the windows up into this file: .pb or .pbtxt for a DatasetFeatureStatisticsList, else "
            "Millrace's own form.",
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """List the windows whose statistics a job has told of, or add them up, exactly, into one file.

    With --to all windows must be of one data type, and of one model version or of records.
    """
    from millrace.reading import lines_there  # noqa: PLC0415
    from schemas.errors import StatisticsError  # noqa: PLC0415
    from schemas.lifecycle.window_statistics import read_window  # noqa: PLC0415

    low, high = _ms(start), _ms(until)
    found: list[WindowStatistics] = []
    for line in lines_there(from_folder, bootstrap, topic, client, timeout):
        one = read_window(line)
        if data_type not in ("", one.data_type) or model not in ("", one.model):
            continue
        if version not in (None, one.version) or (low is not None and one.start < low):
            continue
        if high is None or one.start < high:
            found.append(one)
    if to is None:
        for one in found:
            if not one.part:
                typer.echo(_sentence(one))
        return
    series = {(one.of, one.data_type, one.model, one.version) for one in found}
    if len(series) != 1:
        said = ", ".join(sorted(" ".join(filter(None, map(str, one))) for one in series)) or "none"
        raise StatisticsError(f"the windows to add up must be of one stream, and there are {said}: choose")
    from millrace.profile import written  # noqa: PLC0415
    from udfs.lifecycle.watching.window_messages import added_up  # noqa: PLC0415

    table = added_up(found)
    to.write_bytes(written(table, to, found[0].data_type))
    typer.echo(f"{table.rows:,} records, {len(table.features):,} features\nWritten: {to}")


def _sentence(one: WindowStatistics) -> str:
    who = f"{one.model} {one.version}" if one.model else one.of
    when = "no time" if one.start < 0 else f"{utc_time(one.start)} to {utc_time(one.end)}"
    said = f"{one.data_type} {who}, {when}: {one.rows:,} records"
    said += f", {one.unreadable:,} unreadable" if one.unreadable else ""
    said += ", late" if one.late else ""
    return said + (f"; drifting: {', '.join(one.drifting)}" if one.drifting else "")


def _ms(time: datetime | None) -> int | None:
    if time is None:
        return None
    return int((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp() * 1000)
