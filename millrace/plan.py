"""`millrace plan`: say how several models of a data type are asked, and which answer counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millrace.option_groups import grouped
from millrace.stream_options import StreamOptions


@grouped
def plan(
    plan_file: Annotated[
        Path, typer.Argument(metavar="PLAN", help="A plan, as JSON.", exists=True, dir_okay=False)
    ],
    *,
    data_type: Annotated[str, typer.Option("--data-type", help="The type of the records that it is for.")],
    name: Annotated[str, typer.Option("--name", help="The plan's name.")] = "plan",
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="By default the present time in milliseconds.")
    ] = None,
    description: Annotated[str, typer.Option("--description", help="For those who read of it.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Take effect although a newer version was seen.")
    ] = False,
    to: StreamOptions,
) -> None:
    """Check a plan of speculative execution and publish it; the job follows it from the next micro-batch on.

    It is in force until a newer one comes or it is unpublished by its name.
    """
    stream, signs = to.stream(), to.signer()
    from schemas.plans.plan import ByRule, read_plan, write_plan  # noqa: PLC0415
    from udfs.models.descriptor import DECIDE, build  # noqa: PLC0415

    checked = read_plan(plan_file.read_bytes())
    if isinstance(checked.route, ByRule):
        from udfs.ensemble.cel.rules import CelRule  # noqa: PLC0415

        for rule in checked.route.rules:
            CelRule(rule.when)
    created_ms, next_version = stream.moment(data_type)
    descriptor = build(
        data_type=data_type,
        name=name,
        description=description,
        version=version or next_version,
        created_ms=created_ms,
        operation=DECIDE,
        plan=write_plan(checked).decode(),
        force=force,
    )
    descriptor = descriptor if signs is None else signs.sign(descriptor)
    where = stream.send(data_type.strip(), name, version or next_version, created_ms, descriptor)
    typer.echo(f"Published: plan {name} version {version or next_version} for {data_type}: {where}")
