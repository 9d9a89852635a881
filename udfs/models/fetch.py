"""Bringing a model's content here from where its publication says, under the allowed roots only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from schemas.errors import DigestError, LocationError
from udfs.io import s3
from udfs.io.limits import Limits, Meter
from udfs.io.s3 import S3Options
from udfs.models import local_folder
from udfs.models.descriptor import Publication
from udfs.models.digest import Digest, digest_of
from udfs.models.runtimes.base import Artifact


def bring(
    publication: Publication,
    roots: Sequence[str],
    scratch: Path,
    limits: Limits | None = None,
    s3_options: S3Options | None = None,
) -> Artifact:
    """A published model's content, private to the caller; its digest is not checked yet.

    `roots` are absolute paths, `file:` or `s3://bucket/prefix` locations. Raises `LocationError` or
    `FetchError`. A location is copied into `scratch`: what is hashed is then what is loaded, whatever
    happens to the original meanwhile.
    """
    limits = limits or Limits()
    if publication.data is not None:
        Meter(limits, "the descriptor").bytes(len(publication.data))
        return Artifact(publication.data, None, scratch)
    location = publication.location
    if location is None:
        raise LocationError(f"the publication of {publication.name!r} has neither data nor location")
    into = scratch / "fetched"
    into.mkdir()
    if location.startswith("file:"):
        path = local_folder.path_of(location)
        copied = local_folder.copy(path, _local_root(path, location, roots), into, limits)
    elif location.startswith("s3://"):
        _check_s3_root(location, roots)
        copied = s3.download(location, into, s3_options or S3Options(), limits)
    else:
        raise LocationError(f"{location!r} is no location that is opened; use file:/… or s3://bucket/…")
    return Artifact(None, copied, scratch)


def check_digest(publication: Publication, artifact: Artifact) -> Digest:
    """The digest of the content at hand. Raises `DigestError` where the publication says another."""
    content = artifact.data if artifact.data is not None else artifact.path
    assert content is not None
    digest = digest_of(content)
    where = publication.location or "the descriptor"
    if publication.size and publication.size != digest.size:
        raise DigestError(f"{where} holds {digest.size} bytes, published were {publication.size}")
    if publication.sha256 and publication.sha256 != digest.sha256:
        raise DigestError(f"{where} has the SHA-256 {digest.sha256}, published was {publication.sha256}")
    return digest


def _local_root(path: Path, location: str, roots: Sequence[str]) -> Path:
    for root in roots:
        if root.startswith("s3://"):
            continue
        folder = local_folder.path_of(root) if root.startswith("file:") else Path(root)
        if not folder.is_absolute():
            raise LocationError(f"the allowed root {root!r} is not absolute")
        # A root that is itself reached by a link may be named either way.
        if any(path != f and path.is_relative_to(f) for f in (folder, folder.resolve())):
            return folder
    raise LocationError(_outside(location, roots))


def _check_s3_root(location: str, roots: Sequence[str]) -> None:
    bucket, key = s3.split(location)
    for root in roots:
        if not root.startswith("s3://"):
            continue
        root_bucket, prefix = s3.split(root)
        if bucket == root_bucket and key and (not prefix or key.startswith(prefix + "/")):
            return
    raise LocationError(_outside(location, roots))


def _outside(location: str, roots: Sequence[str]) -> str:
    allowed = ", ".join(roots) or "none"
    return f"{location} is not below an allowed root ({allowed}); add its root to the settings"
