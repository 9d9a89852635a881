"""Where the contents of models lie, each once, by its digest: a folder that all task managers see, or a
bucket.

A descriptor may bring its model along. Kept in state it would be there once for every instance, and again in
each checkpoint; so the content is put here when it comes, and the descriptor goes on with its location.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import StoreError
from schemas.model_pb2 import ModelDescriptor
from udfs.io.s3 import S3Options, s3_client, split
from udfs.models.descriptor import Publication
from udfs.models.local_folder import path_of


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """`root`: `file:` or `s3://` location; empty: contents stay in their descriptors, and so in state."""

    root: str = ""
    s3: S3Options = field(default_factory=S3Options)

    @classmethod
    def at(cls, place: str, s3: S3Options) -> StoreSpec:
        """`place`: a location as above, or the path of a folder."""
        if place and not place.startswith(("file:", "s3:")):
            place = Path(place).resolve().as_uri()
        return cls(place, s3)

    @property
    def roots(self) -> tuple[str, ...]:
        """What loading may open on account of the store."""
        return (self.root,) if self.root else ()


class ModelStore:
    """Writes only; what is there is fetched as any other location. Nothing is ever overwritten or deleted."""

    def __init__(self, spec: StoreSpec) -> None:
        self._spec = spec

    def keep(self, descriptor: bytes, published: Publication) -> bytes:
        """The descriptor with the location of each content that it brought. Raises `StoreError`.

        `published` is the same, parsed.
        """
        graph = published.graph
        if not self._spec.root or (
            published.data is None and not (graph and any(n.data for n in graph.nodes))
        ):
            return descriptor
        message = ModelDescriptor.FromString(descriptor)
        for holder in (message, *message.graph.nodes):
            if holder.HasField("data"):
                data = holder.data
                digest = hashlib.sha256(data).hexdigest()
                holder.location = self._put(data, digest)
                holder.sha256, holder.size = holder.sha256 or digest, holder.size or len(data)
        return message.SerializeToString(deterministic=True)

    def _put(self, data: bytes, digest: str) -> str:
        root = self._spec.root
        if root.startswith("s3://"):
            return self._put_object(data, digest)
        path = path_of(root) / digest
        hidden = path.with_name(f".{digest}.{os.getpid()}.tmp")
        try:
            if not (path.is_file() and path.stat().st_size == len(data)):
                path.parent.mkdir(parents=True, exist_ok=True)
                hidden.write_bytes(data)
                hidden.rename(path)
        except OSError as e:
            with suppress(OSError):
                hidden.unlink()
            raise StoreError(f"the model store {root} cannot be written: {e}; see model_store") from e
        return Path(path).as_uri()

    def _put_object(self, data: bytes, digest: str) -> str:
        from boto3.exceptions import Boto3Error  # noqa: PLC0415 - takes a second to import
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        bucket, prefix = split(self._spec.root)
        key = f"{prefix}/{digest}" if prefix else digest
        try:
            with s3_client(self._spec.s3) as client:
                client.put_object(Bucket=bucket, Key=key, Body=data)
        except (BotoCoreError, Boto3Error, ClientError, OSError) as e:
            raise StoreError(
                f"the model store {self._spec.root} cannot be written: {e}; see model_store"
            ) from e
        return f"s3://{bucket}/{key}"
