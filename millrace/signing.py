"""Signing what is published: the options of the commands, and the signer that they make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from udfs.models.signing.signer import DescriptorSigner

Sign = Annotated[
    Path | None,
    typer.Option(
        "--sign",
        envvar="MILLRACE_SIGNING_KEY",
        help="A private key (PEM) to sign with; its password is MILLRACE_SIGNING_PASSWORD.",
        exists=True,
        dir_okay=False,
    ),
]
Audience = Annotated[
    list[str] | None,
    typer.Option("--audience", help="With --sign: a job that it is for, by its signing.audience; repeat it."),
]
_MOST_DAYS = 36_500
ValidDays = Annotated[
    float, typer.Option("--valid-days", min=0.001, help="With --sign: how long jobs take it.")
]


def signer(key: Path | None, audience: Sequence[str] | None, valid_days: float) -> DescriptorSigner | None:
    """None where there is no key. Raises `SettingsError` for one that is none."""
    if key is None:
        if audience:
            raise typer.BadParameter("--audience is said in a signature: give --sign too")
        return None
    if not audience:
        raise typer.BadParameter("--sign needs --audience: the jobs that it is for")
    if valid_days > _MOST_DAYS:
        raise typer.BadParameter(f"--valid-days is at most {_MOST_DAYS:,}, a hundred years")
    from udfs.models.signing.signer import DescriptorSigner, key_password, read_private_key  # noqa: PLC0415

    private = read_private_key(key, key_password())
    return DescriptorSigner(private, tuple(audience), int(valid_days * 86_400_000))
