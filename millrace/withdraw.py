"""`millrace withdraw`: take the model of a data type out of service."""

from __future__ import annotations

from typing import Annotated

import typer

from millrace.options import Bootstrap, Client, ModelsTopic, Timeout, ToFolder, either
from millrace.signing import Audience, Sign, ValidDays, signer


def withdraw(
    data_type: Annotated[str, typer.Argument(help="The data type whose model is to stop scoring.")],
    *,
    name: Annotated[str, typer.Option("--name", help="Only the model of this name; by default any.")] = "",
    to_folder: ToFolder = None,
    bootstrap: Bootstrap = None,
    topic: ModelsTopic = "models",
    client: Client = None,
    timeout: Timeout = 30.0,
    sign: Sign = None,
    audience: Audience = None,
    valid_days: ValidDays = 90.0,
) -> None:
    """Announce that a data type's model is to stop scoring; later records wait for the next model."""
    either(to_folder, bootstrap, "--to-folder")
    signs = signer(sign, audience, valid_days)
    from millrace.announce import ModelStream  # noqa: PLC0415
    from millrace.values import parse_pairs  # noqa: PLC0415
    from udfs.models.descriptor import WITHDRAW, build  # noqa: PLC0415

    stream = ModelStream(to_folder, bootstrap, topic, parse_pairs(client, "--client"), timeout)
    created_ms, _ = stream.moment(data_type)
    descriptor = build(data_type=data_type, name=name, operation=WITHDRAW, created_ms=created_ms)
    descriptor = descriptor if signs is None else signs.sign(descriptor)
    where = stream.send(data_type.strip(), name or "withdrawn", 0, created_ms, descriptor)
    typer.echo(f"Withdrawn: {where}")
