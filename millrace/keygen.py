"""`millrace keygen`: a pair of keys to sign publications with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import SettingsError

_RIGHTS = ("publish", "force", "unpublish", "decide")


def keygen(
    name: Annotated[str, typer.Argument(help="Whose key it is, e.g. release-2026.")],
    *,
    folder: Annotated[
        Path, typer.Option("--folder", help="Where NAME.pem and NAME.pub.pem are put.")
    ] = Path(),
    data_type: Annotated[
        list[str] | None, typer.Option("--data-type", help="What it is for; repeat it. By default any (*).")
    ] = None,
    may: Annotated[
        list[str] | None, typer.Option("--may", help=f"One of {', '.join(_RIGHTS)}; repeat it.")
    ] = None,
) -> None:
    """Make a key of the curve P-256, and print the entry for the file of keys of a job (signing.keys).

    With MILLRACE_SIGNING_PASSWORD set, the private key is encrypted with it.
    """
    from udfs.models.signing.signer import key_password, new_key  # noqa: PLC0415

    rights = may or ["publish"]
    if unknown := [right for right in rights if right not in _RIGHTS]:
        raise typer.BadParameter(f"--may {unknown[0]}: known are {', '.join(_RIGHTS)}")
    private, public = new_key(key_password())
    secret, shown = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    try:
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(private)
        shown.write_bytes(public)
    except OSError as e:
        raise SettingsError(f"{e.filename} cannot be written: {e.strerror}") from None
    typer.echo(f"# The private key is {secret}: it stays with who signs. For the file of keys:")
    typer.echo(f"[keys.{json.dumps(name)}]")
    typer.echo(f"data_types = {json.dumps(data_type or ['*'])}")
    typer.echo(f"may = {json.dumps(rights)}")
    typer.echo(f'public = """\n{public.decode()}"""')
