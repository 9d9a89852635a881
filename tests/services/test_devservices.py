"""The services themselves: they serve, and they leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer

from devservices import class_archive
from devservices.flink_cluster import StandaloneCluster
from devservices.flink_distribution import FlinkDistribution
from devservices.kafka import KafkaBroker
from devservices.process import Process, ServiceError, free_port, wait_until
from devservices.redis import Redis
from devservices.s3proxy import S3Proxy

pytestmark = pytest.mark.cluster
HERE = Path(__file__).parent
RUNNER = """
import sys
from devservices.kafka import KafkaBroker
with KafkaBroker() as broker:
    print(broker.process.group, broker.folder, flush=True)
    sys.stdin.read()
"""


def members(group: int) -> list[psutil.Process]:
    """The living processes of a group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def send(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def receive(bootstrap: str, topic: str, enough: Callable[[list[str]], bool]) -> list[str]:
    """The values of a one-partition topic, read from its start until they are `enough`."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    values: list[str] = []

    def complete() -> bool:
        values.extend((message.value() or b"").decode() for message in consumer.consume(10, 0.5))
        return enough(values)

    try:
        wait_until(complete, 90, lambda: f"{topic} holds only {values}")
    finally:
        consumer.close()
    return values


def count_is(wanted: int) -> Callable[[list[str]], bool]:
    """Whether the counting job has counted up to `wanted`."""
    return lambda values: any(value.startswith(f"{wanted}:") for value in values)


def test_a_broker_gives_back_what_it_was_sent(kafka: KafkaBroker) -> None:
    kafka.create_topics("round-trip")
    send(kafka.bootstrap, "round-trip", b"one", b"two")
    assert receive(kafka.bootstrap, "round-trip", lambda values: len(values) >= 2) == ["one", "two"]


def test_a_killed_broker_comes_back_with_its_records_and_leaves_nothing() -> None:
    with KafkaBroker() as broker:
        broker.create_topics("kept")
        send(broker.bootstrap, "kept", b"one")
        broker.kill()
        broker.start()
        assert receive(broker.bootstrap, "kept", bool) == ["one"]
        process = broker.process
        assert process is not None
        assert len(members(process.group)) == 2  # the guard and the broker
    assert members(process.group) == []
    assert not broker.folder.exists()


def test_a_broker_dies_with_a_killed_runner() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        group, folder = runner.stdout.readline().split()
        assert len(members(int(group))) == 2
        runner.send_signal(signal.SIGKILL)
    wait_until(lambda: not members(int(group)), 30, lambda: f"still there: {members(int(group))}")
    shutil.rmtree(folder)  # nobody was left to do it


def test_a_command_dies_with_its_killed_guard(tmp_path: Path) -> None:
    process = Process("sleeper", ["sleep", "600"], tmp_path / "log")
    wait_until(lambda: len(members(process.group)) == 2, 30, lambda: "the command did not start")
    os.kill(process.group, signal.SIGKILL)
    wait_until(lambda: not members(process.group), 30, lambda: "the command outlived its guard")
    process.kill()


def test_a_command_that_fails_says_so_with_its_log(tmp_path: Path) -> None:
    process = Process("talker", ["bash", "-c", "echo the reason; exit 3"], tmp_path / "log")
    with pytest.raises(ServiceError, match=r"talker ended with code 3(.|\n)*the reason"):
        process.wait_ready(lambda: False)
    process.stop()


def test_redis_serves(redis_server: Redis) -> None:
    with redis_server.client() as client:
        client.set("devservices", b"value")
        assert client.get("devservices") == b"value"


def test_s3_serves(s3: S3Proxy) -> None:
    client = s3.client()
    client.create_bucket(Bucket="devservices")
    client.put_object(Bucket="devservices", Key="a/b", Body=b"content")
    assert client.get_object(Bucket="devservices", Key="a/b")["Body"].read() == b"content"


def test_a_cluster_runs_python_stops_with_a_savepoint_and_survives_a_kill(kafka: KafkaBroker) -> None:
    kafka.create_topics("numbers", "counts")
    job = HERE / "counting_job.py"
    arguments = (kafka.bootstrap, "numbers", "counts")
    with StandaloneCluster(1) as cluster:
        groups = [process.group for process in (cluster.job_manager, *cluster.task_managers) if process]
        task_manager = {process.pid for process in members(cluster.task_managers[0].group)}

        first = cluster.run(job, *arguments)
        cluster.wait_running(first)
        send(kafka.bootstrap, "numbers", b"a", b"b")
        answers = [answer.split(":") for answer in receive(kafka.bootstrap, "counts", count_is(2))]
        assert [count for count, *_ in answers] == ["1", "2"]
        # Thread mode: the Python that counted lives in the task manager's JVM.
        assert {int(pid) for _, pid, _ in answers} < task_manager

        savepoint = cluster.stop_with_savepoint(first)
        assert cluster.rest.jobs()[first] == "FINISHED"
        send(kafka.bootstrap, "numbers", b"c")
        second = cluster.run(job, *arguments, savepoint=savepoint)
        cluster.wait_running(second)
        receive(kafka.bootstrap, "counts", count_is(3))

        cluster.kill_task_manager(0)
        cluster.add_task_manager()
        groups.append(cluster.task_managers[0].group)
        cluster.wait_running(second)
        send(kafka.bootstrap, "numbers", b"d")
        # The output is at least once, so an answer may come twice; the state is exactly once.
        counts = receive(kafka.bootstrap, "counts", count_is(4))
        assert {value.split(":")[0] for value in counts} == {"1", "2", "3", "4"}
        assert "Exception" in cluster.rest.exceptions(second)
        cluster.rest.cancel(second)
        assert cluster.rest.jobs()[second] == "CANCELED"
    assert [members(group) for group in groups] == [[] for _ in groups]
    assert not cluster.folder.exists()


def test_a_cluster_repeats_what_flink_says_of_a_bad_job(flink: StandaloneCluster, tmp_path: Path) -> None:
    job = tmp_path / "bad_job.py"
    job.write_text("raise SystemExit('no such setting')")
    with pytest.raises(ServiceError, match="no such setting"):
        flink.run(job)


def test_classes_that_one_flink_has_read_are_not_read_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_archive, "FOLDER", tmp_path / "classes")

    def run(name: str, argument: str) -> str:
        flink = FlinkDistribution(tmp_path / name, tmp_path / name / "data", free_port(), {})
        java, *arguments = flink.client(argument)
        done = subprocess.run(
            [java, "-Xlog:class+load", *arguments], env=flink.env, capture_output=True, text=True, check=False
        )
        flink.ended("client", well=done.returncode == 0)
        return done.stdout

    archived = "shared objects file (top)"
    assert archived not in run("refused", "no-such-command")
    assert list((tmp_path / "classes").iterdir()) == []  # it has not read what others will
    assert archived not in run("first", "--version")
    assert archived in run("second", "--version")
