"""`millrace models at TIME`: which versions were in production."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from millrace.options import RegistryUrl
from millrace.registered import AsJson, OfDataType, as_json, intervals, moment, opened
from millrace.versions import local, short
from udfs.stores.registry import DEFAULT_URL

_AHEAD_MS = 60_000
"""By how much the clocks of jobs may be ahead."""


def models_at(
    when: Annotated[
        str,
        typer.Argument(metavar="TIME", help="now, 2026-11-28T13:00 (local), with a zone, or epoch ms."),
    ],
    *,
    registry: RegistryUrl = DEFAULT_URL,
    data_type: OfDataType = "",
    json_: AsJson = False,
) -> None:
    """Show which models and plans were in force at a time, in which job, since when, and until when.

    A job that was killed tells of no end: `heard` is when the version was last told of.
    """
    from udfs.lifecycle.repository.served import MODEL, serving_at  # noqa: PLC0415

    time = moment(when)
    if time > moment("now") + _AHEAD_MS:
        typer.echo(f"{local(time)} is still to come: shown is what no end is known of.", err=True)
    with opened(registry) as known:
        found = serving_at(intervals(known, data_type=data_type), time)
        changes = [c for c in known.alias_changes(data_type=data_type) if c.at <= time]
    newest = {(c.data_type, c.name, c.alias): c.version for c in changes}

    def aliases(data_type: str, name: str, version: int) -> list[str]:
        wanted = (data_type, name)
        return sorted(a for (*of, a), v in newest.items() if tuple(of) == wanted and v == version)

    def brief(ms: int) -> str:
        """Without the year, where it is that of the title."""
        return local(ms).removeprefix(local(time)[:5])

    rows: list[dict[str, Any]] = [
        {**asdict(one), "aliases": aliases(one.data_type, one.name, one.version) if one.kind == MODEL else []}
        for one in found
    ]
    if json_:
        as_json(rows)
        return
    if not rows:
        typer.echo(f"Nothing was in force at {local(time)}, as far as the registry knows.", err=True)
        return
    from millrace.render import print_table  # noqa: PLC0415

    print_table(
        ("data type", "job", "in force", "since", "until"),
        [
            (
                row["data_type"],
                row["job"],
                " ".join(
                    [
                        *(["plan"] if row["kind"] != MODEL else []),
                        row["name"],
                        short(row["version"]),
                        *(f"({a})" for a in row["aliases"]),
                    ]
                ),
                brief(row["since"]),
                brief(row["until"]) if row["until"] else f"heard {brief(row['seen'])}",
            )
            for row in rows
        ],
        f"At {local(time)}",
    )
