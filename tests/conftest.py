"""Fixtures of all levels. The services start when a test first asks for one, and once a session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from hypothesis import HealthCheck, settings

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import environment
from devservices.redis import Redis
from devservices.s3proxy import S3Proxy

QUICK_START = "-XX:TieredStopAtLevel=1"
"""For JVMs that live for minutes: what the second compiler makes of their code does not pay for itself, and
without it the start of Flink's takes two fifths less processor time."""


def pytest_configure() -> None:
    """Every test runs with the Java and the PATH of scripts/env.sh, however pytest was started.

    Ctrl-C ends what it starts: what a shell has in the background ignores it, and so do its children.
    """
    os.environ["JVM_ARGS"] = f"{QUICK_START} {os.environ.get('JVM_ARGS', '')}".strip()
    os.environ.update(environment())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says how busy the machine is, and nothing about the code.
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a cluster, and all that kill, are marked: `scripts/test` runs them one at a time."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "flink" in fixtures or item.path.parent.name == "faults":
            item.add_marker("cluster")


@pytest.fixture
def mock_broker() -> Iterator[tuple[str, Producer]]:
    """`HOST:PORT` of librdkafka's own broker for tests, and the producer that it lives as long as."""
    holder = Producer({"test.mock.num.brokers": 1, "linger.ms": 1})
    (found,) = holder.list_topics(timeout=10).brokers.values()
    yield f"{found.host}:{found.port}", holder
    holder.flush(1)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """A Kafka broker; a test makes topics of its own."""
    with KafkaBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis server; a test uses keys of its own."""
    if not Redis.available():
        pytest.skip("redis-server is not installed (scripts/setup installs it where it may)")
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Proxy]:
    """An S3 server; a test makes a bucket of its own."""
    with S3Proxy() as server:
        yield server


@pytest.fixture(scope="session")
def cluster(s3: S3Proxy) -> Iterator[StandaloneCluster]:
    """The cluster behind `flink`."""
    with StandaloneCluster(2, s3.flink_settings) as made:
        yield made


@pytest.fixture
def flink(cluster: StandaloneCluster) -> StandaloneCluster:
    """A cluster whose `s3://` is the session's server; at least two task managers run."""
    cluster.complete()
    return cluster


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder beside the checkout, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data beside the checkout")
    return folder
