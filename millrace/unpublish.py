"""`millrace unpublish`: take the model of a data type out of service."""

from __future__ import annotations

from typing import Annotated

import typer

from millrace.option_groups import grouped
from millrace.stream_options import StreamOptions


@grouped
def unpublish(
    data_type: Annotated[str, typer.Argument(help="The data type whose model is to stop scoring.")],
    *,
    name: Annotated[str, typer.Option("--name", help="Only the model of this name; by default any.")] = "",
    to: StreamOptions,
) -> None:
    """Take a data type's model back: it stops scoring, and later records wait for the next model."""
    stream, signs = to.stream(), to.signer()
    from udfs.models.descriptor import WITHDRAW, build  # noqa: PLC0415

    created_ms, _ = stream.moment(data_type)
    descriptor = build(data_type=data_type, name=name, operation=WITHDRAW, created_ms=created_ms)
    descriptor = descriptor if signs is None else signs.sign(descriptor)
    where = stream.send(data_type.strip(), name or "withdrawn", 0, created_ms, descriptor)
    typer.echo(f"Unpublished: {where}")
