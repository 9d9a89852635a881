"""Statistics at a path or in S3."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlparse

from schemas.errors import SourceError
from udfs.io.s3 import S3Options, s3_client, split
from udfs.lifecycle.watching.training_sets import Read

_MISSING = ("404", "NoSuchKey")


def reader(options: S3Options) -> Read:
    """Reads files by path or `file:` URL, and objects by `s3://BUCKET/KEY`."""

    def read(place: str) -> bytes | None:
        if place.startswith("s3:"):
            return _object(place, options)
        path = Path(unquote(urlparse(place).path)) if place.startswith("file:") else Path(place)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):  # as where a model's name has steps
            return None
        except (OSError, ValueError) as e:  # a NUL in the name is a `ValueError`
            raise SourceError(f"{place} cannot be read: {getattr(e, 'strerror', None) or e}") from None

    return read


def _object(place: str, options: S3Options) -> bytes | None:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    bucket, key = split(place)
    with s3_client(options) as client:
        try:
            found: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as e:
            if e.response.get("Error", {}).get("Code") in _MISSING:
                return None
            raise SourceError(f"{place} cannot be read: {e}") from None
        except BotoCoreError as e:
            raise SourceError(f"{place} cannot be read: {e}") from None
    return found
