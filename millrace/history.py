"""`millrace history`: what is stored of a view in S3, and away with what is too old."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated

import typer

from millrace.option_groups import grouped
from millrace.options import S3Access


@grouped
def history(
    view: Annotated[str, typer.Argument(metavar="VIEW", help="NAME_vVERSION.")],
    *,
    url: Annotated[str, typer.Option("--history", help="Where jobs keep rows: s3://BUCKET/PREFIX.")],
    delete_before: Annotated[
        str,
        typer.Option("--delete-before", metavar="YYYY-MM-DD", help="Delete the days before this one, UTC."),
    ] = "",
    s3: S3Access,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object: partition -> bytes.")] = False,
) -> None:
    """List the partitions of a view's history and how large they are; delete the oldest if wanted.

    Files that a running job has not committed yet are neither listed nor deleted. A bucket's own lifecycle
    rule does the same by the age of files, which after a backfill is not the age of rows.
    """
    from udfs.stores.history.bucket import delete_before as delete  # noqa: PLC0415
    from udfs.stores.history.bucket import list_partitions  # noqa: PLC0415

    bucket = s3.options()
    if delete_before:
        count = delete(url, view, _day(delete_before), bucket)
        typer.echo(f"{count} files of days before {delete_before} deleted", err=True)
    found = list_partitions(url, view, bucket)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for partition, size in sorted(found.items()):
        typer.echo(f"{partition}  {size:,} bytes")
    typer.echo(f"{view}: {len(found)} partitions, {sum(found.values()):,} bytes")


def _day(text: str) -> str:
    from schemas.errors import SettingsError  # noqa: PLC0415

    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise SettingsError(f"--delete-before {text} is no day: give YYYY-MM-DD, as 2026-11-27") from None
