"""Models in S3: the client's settings, and bringing an object or a prefix into a local folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import FetchError, LocationError
from udfs.io.limits import Limits, Meter
from udfs.io.references import resolved

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class S3Options:
    """How S3 is reached. Empty values leave the choice to boto3's own chain (environment, profile, role).

    `endpoint` is the URL of another S3-compatible store; `path_style` puts the bucket into the path, as
    those usually want. The keys may be references (`udfs.io.references`). `timeout_s` is for connecting and
    for each read; `attempts` counts the first one.
    """

    endpoint: str = ""
    region: str = ""
    path_style: bool = False
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    timeout_s: float = 20.0
    attempts: int = 3


@contextmanager
def s3_client(options: S3Options) -> Iterator[Any]:
    """A boto3 client which is closed at the end; boto3 is imported only here."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=options.endpoint or None,
        region_name=options.region or ("us-east-1" if options.endpoint else None),
        aws_access_key_id=resolved(options.access_key) or None,
        aws_secret_access_key=resolved(options.secret_key) or None,
        config=Config(
            connect_timeout=options.timeout_s,
            read_timeout=options.timeout_s,
            retries={"total_max_attempts": options.attempts, "mode": "standard"},
            s3={"addressing_style": "path" if options.path_style else "auto"},
        ),
    )
    try:
        yield client
    finally:
        client.close()


def split(location: str) -> tuple[str, str]:
    """`s3://bucket/some/key/` -> `("bucket", "some/key")`. Raises `LocationError` for `.` and `..` steps.

    >>> split("s3://models/wine/1/")
    ('models', 'wine/1')
    """
    bucket, _, key = location.removeprefix("s3://").partition("/")
    key = key.strip("/")
    if not location.startswith("s3://") or not bucket:
        raise LocationError(f"{location!r} is not an S3 location; write s3://bucket/key")
    if (key and any(step in ("", ".", "..") for step in key.split("/"))) or "\0" in key or "\\" in key:
        raise LocationError(f"{location!r} has an empty, '.' or '..' step, a backslash or a NUL in its key")
    return bucket, key


def download(location: str, into: Path, options: S3Options, limits: Limits) -> Path:
    """Copy the object at `location`, or all objects below it, to `into`; the path of the copy.

    Raises `FetchError` where there is nothing, too much, or no answer.
    """
    from boto3.exceptions import Boto3Error  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    bucket, key = split(location)
    meter = Meter(limits, location)
    try:
        with s3_client(options) as client:
            if _is_object(client, bucket, key):
                return _object(client, bucket, key, into / key.rpartition("/")[2], meter)
            folder = into / key.rpartition("/")[2]
            found = list(_below(client, bucket, key + "/", meter))
            if not found:
                raise FetchError(f"there is no object and no folder at {location}")
            for name in found:
                _object(client, bucket, f"{key}/{name}", folder / name, meter)
            return folder
    except (BotoCoreError, Boto3Error, ClientError, OSError) as e:
        raise FetchError(f"{location} could not be read: {e}") from e


def _is_object(client: Any, bucket: str, key: str) -> bool:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as e:
        # Without the right to list, S3 says 403 for an absent key; the listing then tells the two apart.
        if e.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (403, 404):
            return False
        raise
    return True


def _below(client: Any, bucket: str, prefix: str, meter: Meter) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            name = entry["Key"].removeprefix(prefix)
            if not name or name.endswith("/"):
                continue  # the empty objects with which consoles mark a folder
            split(f"s3://{bucket}/{prefix}{name}")  # a key with '..' must not leave the local folder
            meter.file()
            yield name


def _object(client: Any, bucket: str, key: str, target: Path, meter: Meter) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    body = client.get_object(Bucket=bucket, Key=key)["Body"]
    try:
        with target.open("xb") as out:
            for chunk in body.iter_chunks(_CHUNK):
                meter.bytes(len(chunk))
                out.write(chunk)
    finally:
        body.close()
    return target
