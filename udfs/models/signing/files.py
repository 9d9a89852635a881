"""A model's files and a signature that lies beside them, as the OpenSSF model signing specification 1.0 has
it (section 8.4): for signatures by any program."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from udfs.models.signing.faults import SignatureError, SignatureFault
from udfs.models.signing.keys import KeysFile, PublicKey
from udfs.models.signing.statement import SINGLE, Statement

_IGNORED = (".git", ".gitignore", ".gitattributes", ".github")


def verify_files(model: Path, bundle: Path, keys: KeysFile, now_ms: int) -> tuple[PublicKey, Statement]:
    """Who signed the file or folder `model`, and what was said. Raises `SignatureError` where it is not what
    was signed, and `OSError`."""
    key, statement = keys.verified(bundle.read_bytes(), now_ms)
    predicate = statement.predicate
    signed = {r.name: r.digest for r in predicate.resources}
    if model.is_dir():
        ignored = {*_IGNORED, *predicate.serialization.ignore_paths}
        found = dict(_digests(model, ignored, bundle))
    else:
        name = model.name if model.name in signed else SINGLE  # the specification's name, or that in use
        found = {name: _sha256(model)}
    for name in sorted(signed.keys() | found.keys()):
        if name not in found:
            raise SignatureError(SignatureFault.TAMPERED, f"the file {name} is missing")
        if name not in signed:
            raise SignatureError(SignatureFault.TAMPERED, f"the file {name} was not signed")
        if signed[name] != found[name]:
            raise SignatureError(SignatureFault.TAMPERED, f"the file {name} is not what was signed")
    return key, statement


def _digests(folder: Path, ignored: set[str], bundle: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(name == one or name.startswith(f"{one}/") for one in ignored):
            continue
        if path.is_symlink():
            raise SignatureError(SignatureFault.TAMPERED, f"{name} is a link, which no signature covers")
        if path.is_file() and not path.samefile(bundle):
            yield name, _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
