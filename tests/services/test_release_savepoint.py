"""The savepoint of a release goes on in the code of today."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, free_port, wait_until
from schemas.results.results import Scored, read_result
from tests import models
from tests.streams import Sent, Streams
from udfs.models.descriptor import build

RELEASE = "0.3.0"
NOT_IN_THIS_CLONE = 3


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the release, with Java classes of its own."""
    folder = tmp_path_factory.mktemp("release") / RELEASE
    done = subprocess.run(
        [ROOT / "scripts" / "at-release", RELEASE, folder], capture_output=True, text=True, check=False
    )
    if done.returncode == NOT_IN_THIS_CLONE:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return folder


class ReleaseRun:
    """A job that runs by the release's code, on a cluster of that code."""

    def __init__(self, release: Path, savepoint: Path, *arguments: str) -> None:
        self._savepoint = savepoint
        usual = {
            name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "MILLRACE_JARS"}
        }
        ports = [str(free_port()), str(free_port())]
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("release_run.py"), savepoint, *ports, *arguments],
            cwd=release,
            env={**usual, "PYTHONPATH": str(release)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._expect("running")

    def save(self) -> str:
        """Stop the job; returns its savepoint."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._expect("saved")
        assert self._process.wait(60) == 0
        return self._savepoint.as_uri()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        assert said == word, f"the release's run said {said!r} instead of {word!r}"


def results(streams: Streams) -> list[Scored]:
    return [read_result(m.value() or b"") for m in streams.read("results")]


def committed(streams: Streams, topic: str) -> int:
    """Records of a topic that a completed checkpoint has read."""
    group = {"bootstrap.servers": streams.broker.bootstrap, "group.id": streams.prefix}
    reader = Consumer(group)
    try:
        wanted = [TopicPartition(streams.topic(topic), p) for p in range(streams.partitions)]
        return sum(max(found.offset, 0) for found in reader.committed(wanted, 30))
    finally:
        reader.close()


def test_serving_goes_on_from_the_savepoint_of_a_release(
    kafka: KafkaBroker, flink: StandaloneCluster, release: Path, tmp_path: Path
) -> None:
    """A model that served serves on though it is not published again, and what waited for one is scored."""
    streams = Streams(kafka, partitions=2, records=("wine", "tea"))
    store = (tmp_path / "store").as_uri()
    patient = json.dumps({"records": 1000, "bytes": 1 << 30, "seconds": 900})  # on a slow machine
    arguments = streams.arguments(kafka__exactly_once="true", model_store=store, buffer=patient)
    now = time.time_ns() // 1_000_000  # the broker forgets what is older than its retention

    def send(first: int, topic: str) -> None:
        streams.send(
            Sent(b'{"id":%d,"x":[1.0,2.0]}' % n, partition=n % 2, timestamp=now + n, topic=topic)
            for n in range(first, first + 100)
        )

    def model(data_type: str, version: int) -> bytes:
        data = models.zipped(models.constant_saved_model(tmp_path / data_type, version))
        return build(data_type=data_type, name="c", model_type="TENSORFLOWSAVED", version=version, data=data)

    run = ReleaseRun(release, tmp_path / "savepoint", "serve_partitioned.py", *arguments)
    try:
        streams.publish(model("wine", 3))
        send(0, "wine")
        wait_until(lambda: len(results(streams)) == 100, 150, lambda: f"{len(results(streams))} results")
        send(100, "tea")  # nothing serves it: it waits in the savepoint
        wait_until(lambda: committed(streams, "tea") == 100, 60, lambda: "no checkpoint has read the tea")
        savepoint = run.save()
    finally:
        run.close()
    job = flink.run(ROOT / "jobs" / "serve_partitioned.py", *arguments, savepoint=savepoint, parallelism=2)
    try:
        flink.wait_running(job, 180)
        send(200, "wine")
        streams.publish(model("tea", 5))
        wait_until(lambda: len(results(streams)) >= 300, 150, lambda: flink.logs(15))
        flink.stop_with_savepoint(job)
    finally:
        flink.rest.cancel(job)
    found = results(streams)
    assert Counter(r.record["id"] for r in found) == Counter(range(300))
    assert {r.outcome.value for r in found} == {"scored"}
    assert {(r.data_type, r.version, r.scores["y"]) for r in found} == {("wine", 3, 3.0), ("tea", 5, 5.0)}
    assert streams.dead_letters() == []
