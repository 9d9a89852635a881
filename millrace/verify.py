"""`millrace verify`: who signed a model or a descriptor, and for what."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.utc_time import utc_time

if TYPE_CHECKING:
    from udfs.models.signing.statement import Terms


def verify(
    path: Annotated[
        Path,
        typer.Argument(help="A descriptor, or with --signature a model (a file or a folder).", exists=True),
    ],
    *,
    keys: Annotated[
        Path, typer.Option("--keys", help="The file of keys, as of a job.", exists=True, dir_okay=False)
    ],
    signature: Annotated[
        Path | None,
        typer.Option(
            "--signature", help="A bundle beside the model, by any program.", exists=True, dir_okay=False
        ),
    ] = None,
) -> None:
    """Verify a signature by the keys of a job, and say what it covers. Nothing is loaded.

    A job also wants that it is for this job, has not expired, and did not come before.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    from schemas.errors import DescriptorError  # noqa: PLC0415
    from schemas.model_pb2 import ModelDescriptor  # noqa: PLC0415
    from udfs.models.signing.faults import SignatureError, SignatureFault  # noqa: PLC0415
    from udfs.models.signing.files import verify_files  # noqa: PLC0415
    from udfs.models.signing.gate import verified  # noqa: PLC0415
    from udfs.models.signing.keys import KeysFile  # noqa: PLC0415

    known, now = KeysFile(keys), time.time_ns() // 1_000_000
    if signature is not None:
        key, statement = verify_files(path, signature, known, now)
        typer.echo(
            f"Signed by {key.name}: {len(statement.predicate.resources)} files, all as they were signed."
        )
        _say(statement.predicate.millrace, now)
        return
    try:
        message = ModelDescriptor.FromString(path.read_bytes())
    except (DecodeError, IsADirectoryError):
        raise DescriptorError(f"{path} is no descriptor; of a model, name its --signature") from None
    if not message.bundle:
        raise SignatureError(SignatureFault.UNSIGNED, f"{path} has no signature")
    key, terms = verified(message, message.bundle, known, now)
    key.check_right(terms.publication.data_type, terms.publication.operation, terms.publication.force)
    typer.echo(f"Signed by {key.name}.")
    _say(terms, now)


def _say(terms: Terms | None, now: int) -> None:
    if terms is None:
        typer.echo("It says nothing of a data type or a job: a job does not take it as it is.")
        return
    said = terms.publication
    forced = ", forced" if said.force else ""
    typer.echo(f"To {said.operation}{forced}: {said.data_type!r}, {said.name!r} version {said.version}")
    if said.digest:
        typer.echo(f"Content: sha256 {said.digest}, {said.size:,} bytes")
    typer.echo(f"For: {', '.join(terms.audience)}; counter {terms.counter}")
    over = " (over)" if terms.expires <= now else ""
    typer.echo(f"Signed: {utc_time(terms.issued)}, valid until {utc_time(terms.expires)}{over}")
