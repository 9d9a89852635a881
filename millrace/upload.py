"""Putting a model that is too large for the topic where a job can fetch it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from schemas.errors import LocationError, SourceError

if TYPE_CHECKING:
    from udfs.io.s3 import S3Options


def upload(file: Path, target: str, data_type: str, sha256: str, s3_options: S3Options) -> str:
    """Copy `file` below `target` (`file:` or `s3://`); its location there.

    The name holds the digest: one content has one place, which is never overwritten with another, so that
    an earlier descriptor stays true. Raises `LocationError`, or `SourceError` also for a file that changes
    meanwhile.
    """
    name = f"{quote(data_type, safe='')}/{sha256}{''.join(file.suffixes[-1:])}"
    if target.startswith("file:"):
        return _to_folder(file, target, name, sha256)
    if target.startswith("s3://"):
        with tempfile.TemporaryDirectory() as folder:  # of what is sent the digest must be known
            copy = Path(folder) / "model"
            try:
                shutil.copyfile(file, copy)
            except OSError as e:
                raise SourceError(f"{file} could not be copied before it is uploaded: {e}") from e
            _check_same(copy, file, sha256)
            return _to_s3(copy, target, name, s3_options)
    raise LocationError(f"nothing can be uploaded to {target!r}; use file:/folder or s3://bucket/prefix")


def _check_same(copy: Path, file: Path, sha256: str) -> None:
    from udfs.models.digest import digest_of  # noqa: PLC0415

    if digest_of(copy).sha256 != sha256:
        raise SourceError(f"{file} changed while it was published: publish it again when it is whole")


def _to_folder(file: Path, target: str, name: str, sha256: str) -> str:
    from udfs.models.local_folder import path_of  # noqa: PLC0415

    path = path_of(target) / name
    hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, hidden)
        _check_same(hidden, file, sha256)
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
