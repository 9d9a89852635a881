"""Putting a model that is too large for the topic where a job can fetch it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from schemas.errors import LocationError, SourceError

if TYPE_CHECKING:
    from udfs.io.s3 import S3Options


def upload(file: Path, target: str, data_type: str, sha256: str, s3_options: S3Options) -> str:
    """Copy `file` below `target` (`file:` or `s3://`); its location there.

    The name holds the digest: one content has one place, which is never overwritten with another, so that
    an earlier descriptor stays true. Raises `LocationError` or `SourceError`.
    """
    name = f"{quote(data_type, safe='')}/{sha256}{''.join(file.suffixes[-1:])}"
    if target.startswith("file:"):
        return _to_folder(file, target, name)
    if target.startswith("s3://"):
        return _to_s3(file, target, name, s3_options)
    raise LocationError(f"nothing can be uploaded to {target!r}; use file:/folder or s3://bucket/prefix")


def _to_folder(file: Path, target: str, name: str) -> str:
    from udfs.models.local_folder import path_of  # noqa: PLC0415

    path = path_of(target) / name
    hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, hidden)
        hidden.rename(path)
    except OSError as e:
        raise SourceError(f"the model could not be copied to {path}: {e}") from e
    finally:
        hidden.unlink(missing_ok=True)
    return path.as_uri()


def _to_s3(file: Path, target: str, name: str, options: S3Options) -> str:
    from boto3.exceptions import Boto3Error  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    from udfs.io.s3 import s3_client, split  # noqa: PLC0415

    bucket, prefix = split(target)
    key = f"{prefix}/{name}" if prefix else name
    try:
        with s3_client(options) as client:
            client.upload_file(str(file), bucket, key)
    except (BotoCoreError, Boto3Error, ClientError, OSError) as e:
        raise SourceError(f"the model could not be uploaded to s3://{bucket}/{key}: {e}") from e
    return f"s3://{bucket}/{key}"
