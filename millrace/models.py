"""`millrace models`: which model serves which data type, and how it does; subcommands ask the registry."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.options import Bootstrap, Client, Timeout, either
from millrace.versions import local, short

if TYPE_CHECKING:
    from schemas.results.records import ModelToServeStats


def models(
    ctx: typer.Context,
    *,
    from_folder: Annotated[
        Path | None,
        typer.Option("--from-folder", envvar="MILLRACE_STATS_FOLDER", help="JSON lines of stats."),
    ] = None,
    bootstrap: Bootstrap = None,
    topic: Annotated[
        str, typer.Option("--topic", envvar="MILLRACE_STATS_TOPIC", help="The topic of statistics of models.")
    ] = "model-stats",
    client: Client = None,
    timeout: Timeout = 15.0,
    all_: Annotated[bool, typer.Option("--all", help="Also those that no longer serve.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array.")] = False,
) -> None:
    """Show the models that serve, from the job's statistics; subcommands ask the registry about all others.

    The rate is records a second since the version was switched on. p50 and p99 are of one call; over several
    subtasks the highest of theirs is shown, which the whole does not exceed.
    """
    if ctx.invoked_subcommand is not None:
        return
    from millrace.values import parse_pairs  # noqa: PLC0415

    either(from_folder, bootstrap, "--from-folder")
    if from_folder is not None:
        from millrace.folder_stream import lines  # noqa: PLC0415

        rows = merged(latest_of_lines(lines(from_folder)).values())
    else:
        assert bootstrap is not None
        from millrace.kafka_stream import to_end  # noqa: PLC0415

        rows = merged(latest_of_topic(to_end(bootstrap, topic, parse_pairs(client, "--client"), timeout)))
    rows = [row for row in rows if all_ or row["serving"]]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo("No model serves." if not all_ else "No model has served.", err=True)
    else:
        from millrace.render import print_table  # noqa: PLC0415

        headings = [key.replace("_", " ") for key in rows[0]]
        print_table(headings, [_shown(row) for row in rows])


def latest_of_lines(lines: Iterable[bytes]) -> dict[str, ModelToServeStats]:
    """The newest statistics of each subtask; lines of other kinds (events) are passed over."""
    latest: dict[str, ModelToServeStats] = {}
    for line in lines:
        stats = _read(line)
        if stats is not None and (stats.key not in latest or stats.at >= latest[stats.key].at):
            latest[stats.key] = stats
    return latest


def latest_of_topic(messages: Iterable[tuple[bytes | None, bytes | None]]) -> list[ModelToServeStats]:
    """The last value of each key of a compacted topic, without the deleted ones."""
    last: dict[bytes | None, ModelToServeStats] = {}
    for key, value in messages:
        if value is None:
            last.pop(key, None)
            continue
        stats = _read(value)
        if stats is not None:
            last[key if key is not None else stats.key.encode()] = stats
    return list(last.values())


def merged(stats: Iterable[ModelToServeStats]) -> list[dict[str, Any]]:
    """One row a model version, over its subtasks; sorted by data type, the newest first."""
    groups: dict[tuple[str, str, int, str], list[ModelToServeStats]] = {}
    for s in stats:
        groups.setdefault((s.data_type, s.name, s.version, s.digest), []).append(s)
    rows = []
    for (data_type, name, version, digest), parts in groups.items():
        batches = sum(p.batches for p in parts)
        used = [p for p in parts if p.batches] or parts
        rows.append(
            {
                "data_type": data_type,
                "name": name,
                "version": version,
                "digest": digest,
                "since": min(p.since for p in parts),
                "usage": sum(p.usage for p in parts),
                "failures": sum(p.failures for p in parts),
                "rate": sum(p.usage * 1000 / max(1, p.at - p.since) for p in parts),
                "mean_ms": sum(p.duration_ms for p in parts) / max(1, batches),
                "p50_ms": max(p.p50_ms for p in used),
                "p99_ms": max(p.p99_ms for p in used),
                "subtasks": len(parts),
                "serving": any(p.serving for p in parts),
            }
        )
    return sorted(rows, key=lambda row: (row["data_type"], -row["since"]))


def _read(data: bytes) -> ModelToServeStats | None:
    from schemas.results.records import ModelToServeStats, decode  # noqa: PLC0415

    try:
        return decode(ModelToServeStats, data)
    except ValueError:
        return None


def _shown(row: dict[str, Any]) -> list[object]:
    serving = "yes" if row["serving"] else "no"
    told = {
        "version": short(row["version"]),
        "since": local(row["since"]),
        "digest": row["digest"][:12],
        "serving": serving,
    }
    return list((row | told).values())
