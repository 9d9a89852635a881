"""What is stored of a view in a real S3 server: checked, listed, and deleted when it is old."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from devservices.s3proxy import S3Proxy
from millrace.cli import app
from schemas.errors import StoreError
from udfs.io.s3 import S3Options
from udfs.stores.history.bucket import check_bucket

VIEW = "spend_v1"
FILES = {
    "dt=2026-01-01/part-1": 3,
    "dt=2026-01-01/part-2": 4,
    "dt=2026-01-02/hr=05/part-1": 5,
    "dt=2026-01-03/part-1": 6,
    "dt=2026-01-01/.part-3.inprogress": 7,
}


@pytest.fixture
def bucket(s3: S3Proxy) -> str:
    name = f"history-{time.time_ns()}"
    client = s3.client()
    client.create_bucket(Bucket=name)
    for key, size in FILES.items():
        client.put_object(Bucket=name, Key=f"past/{VIEW}/{key}", Body=b"x" * size)
    client.put_object(Bucket=name, Key="past/other_v1/dt=2026-01-01/part-1", Body=b"x")
    return name


@pytest.fixture
def run(s3: S3Proxy, bucket: str) -> Callable[..., Result]:
    env = {"MILLRACE_S3_ENDPOINT": s3.endpoint, "MILLRACE_S3_PATH_STYLE": "true"}
    env |= {"MILLRACE_S3_REGION": "us-east-1"}
    env |= {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}

    def invoke(*more: str, url: str = f"s3://{bucket}/past") -> Result:
        return CliRunner().invoke(app, ["history", VIEW, "--history", url, *more], env=env)

    return invoke


def test_partitions_are_listed_with_what_readers_see(run: Callable[..., Result]) -> None:
    done = run("--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"dt=2026-01-01": 7, "dt=2026-01-02/hr=05": 5, "dt=2026-01-03": 6}
    assert f"{VIEW}: 3 partitions, 18 bytes" in run().stdout


def test_old_days_of_one_view_are_deleted(run: Callable[..., Result], s3: S3Proxy, bucket: str) -> None:
    done = run("--delete-before", "2026-01-03", "--json")
    assert done.exit_code == 0, done.output
    assert "3 files of days before 2026-01-03 deleted" in done.stderr
    assert json.loads(done.stdout) == {"dt=2026-01-03": 6}
    left = {o["Key"] for o in s3.client().list_objects_v2(Bucket=bucket)["Contents"]}
    unfinished = f"past/{VIEW}/dt=2026-01-01/.part-3.inprogress"
    assert left == {f"past/{VIEW}/dt=2026-01-03/part-1", "past/other_v1/dt=2026-01-01/part-1", unfinished}


def test_what_is_wrong_is_said_in_a_sentence(run: Callable[..., Result]) -> None:
    done = run("--delete-before", "yesterday")
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: --delete-before yesterday is no day: give YYYY-MM-DD, as 2026-11-27\n",
    )
    done = run(url="s3://there-is-none-such/past")
    assert done.exit_code == 1
    assert "there is no such bucket" in done.stderr


def test_a_bucket_that_can_be_used_keeps_nothing_of_the_check(s3: S3Proxy, bucket: str) -> None:
    options = S3Options(s3.endpoint, "us-east-1", True, s3.access_key, s3.secret_key)
    before = s3.client().list_objects_v2(Bucket=bucket)["KeyCount"]
    check_bucket(f"s3://{bucket}/past", options)
    assert s3.client().list_objects_v2(Bucket=bucket)["KeyCount"] == before
    with pytest.raises(StoreError, match="there is no such bucket"):
        check_bucket("s3://there-is-none-such/past", options)
