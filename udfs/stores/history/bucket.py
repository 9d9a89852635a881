"""What Flink does not do in S3: is the bucket there, which days are, and which are to go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from schemas.errors import LocationError, StoreError
from udfs.io.s3 import S3Options, s3_client, split
from udfs.stores.history.files import is_visible

_PROBE = "_millrace_check"


def check_bucket(url: str, options: S3Options) -> None:
    """Raises `StoreError` unless objects can be written, read and deleted below `url` (`s3://BUCKET/PREFIX`).

    Flink would find out minutes later, at the first checkpoint, and say which of its threads was hurt.
    """
    bucket, prefix = _split(url)
    key = f"{prefix}/{_PROBE}" if prefix else _PROBE
    with _asked(url, options) as client:
        client.head_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key=key, Body=b"")
        client.get_object(Bucket=bucket, Key=key)["Body"].close()
        client.delete_object(Bucket=bucket, Key=key)


def list_partitions(url: str, view: str, options: S3Options) -> dict[str, int]:
    """Of a view below `url`: `dt=...[/hr=...]` -> bytes of its visible files."""
    bucket, prefix = _split(url)
    found: dict[str, int] = {}
    with _asked(url, options) as client:
        for key, size in _objects(client, bucket, f"{prefix}/{view}/".lstrip("/")):
            partition = key.rpartition("/")[0]
            if partition and is_visible(key):
                found[partition] = found.get(partition, 0) + size
    return found


def delete_before(url: str, view: str, day: str, options: S3Options) -> int:
    """Delete the view's visible files of days before `day` (YYYY-MM-DD, UTC); how many there were."""
    bucket, prefix = _split(url)
    base = f"{prefix}/{view}/".lstrip("/")
    with _asked(url, options) as client:
        old = [
            base + key
            for key, _ in _objects(client, bucket, base)
            if key.startswith("dt=") and key[3:13] < day and is_visible(key)
        ]
        for key in old:
            client.delete_object(Bucket=bucket, Key=key)
    return len(old)


def _objects(client: Any, bucket: str, base: str) -> Iterator[tuple[str, int]]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=base):
        for entry in page.get("Contents", ()):
            yield entry["Key"].removeprefix(base), entry["Size"]


def _split(url: str) -> tuple[str, str]:
    try:
        return split(url)
    except LocationError as e:
        raise StoreError(f"history: {e}") from None


@contextmanager
def _asked(url: str, options: S3Options) -> Iterator[Any]:
    """A client whose errors are `StoreError`."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    where = options.endpoint or "AWS"
    try:
        with s3_client(options) as client:
            yield client
    except ClientError as e:
        status = e.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        why = {403: "these credentials may not use it", 404: "there is no such bucket"}.get(status, str(e))
        raise StoreError(f"history: {url} at {where} cannot be used: {why} ({e.operation_name})") from e
    except BotoCoreError as e:
        raise StoreError(f"history: {url} at {where} cannot be reached: {e}") from e
