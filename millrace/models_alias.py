"""`millrace models alias NAME champion 4`: what a version is called."""

from __future__ import annotations

import getpass
import time
from typing import Annotated

import typer

from millrace.options import RegistryUrl
from millrace.registered import OfDataType, opened, version_of
from millrace.versions import short
from udfs.stores.registry import DEFAULT_URL


def models_alias(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    alias: Annotated[str, typer.Argument(help="champion, challenger, or any other name.")],
    version: Annotated[str, typer.Argument(help="A version, another alias, or none to take it away.")],
    *,
    registry: RegistryUrl = DEFAULT_URL,
    data_type: OfDataType = "",
    reason: Annotated[str, typer.Option("--reason", help="Kept with the change.")] = "",
    by: Annotated[
        str, typer.Option("--by", envvar="MILLRACE_PUBLISHER", help="Who says so; else the user.")
    ] = "",
) -> None:
    """Let an alias stand for a version. Its history is kept; nothing that serves changes."""
    from udfs.stores.registry.model_records import AliasChange  # noqa: PLC0415

    with opened(registry) as known:
        if version == "none":
            number, data_type = 0, known.alias(name, alias, data_type).data_type
        else:
            model = known.model(name, version_of(version), data_type)
            number, data_type = model.version, model.data_type
        now, who = time.time_ns() // 1_000_000, by or getpass.getuser()
        news = known.set_alias(AliasChange(data_type, name, alias, number, now, who, reason))
    is_now = f"stands for {short(number)}" if number else "stands for no version"
    typer.echo(f"{name}: {alias} {is_now}{'' if news else ', as it did'}")
