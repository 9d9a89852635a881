"""A topic of records that was deleted and made anew between a savepoint and its restart."""

from __future__ import annotations

import time
from pathlib import Path

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from tests import models
from tests.streams import Sent, Streams
from udfs.models.descriptor import build


def test_it_is_refused_and_on_demand_read_from_its_start(
    flink: StandaloneCluster, kafka: KafkaBroker, tmp_path: Path
) -> None:
    streams = Streams(kafka, partitions=1)
    job = ROOT / "jobs" / "serve.py"
    store = (tmp_path / "store").as_uri()

    def send(start: int, stop: int) -> None:
        now = time.time_ns() // 1_000_000
        streams.send(Sent(b'{"id": %d, "x": [1, 2]}' % n, timestamp=now) for n in range(start, stop))

    def scored(count: int) -> None:
        wait_until(lambda: streams.count("results") >= count, 120, lambda: f"no results\n{flink.logs()}")

    streams.publish(build(data_type="wine", version=1, data=models.constant_frozen_graph(3)))
    send(0, 20)
    running = flink.run(job, *streams.arguments(model_store=store))
    scored(20)
    savepoint = flink.stop_with_savepoint(running)

    topic = streams.topic("wine")
    admin = kafka.admin  # ends its requests when it is collected
    admin.delete_topics([topic])[topic].result()
    topics = lambda: kafka.admin.list_topics(timeout=10).topics  # noqa: E731
    wait_until(lambda: topic not in topics(), 30, lambda: "it is still there")
    kafka.create_topics(topic)
    send(100, 150)

    refused = flink.run(job, *streams.arguments(model_store=store), savepoint=savepoint)
    said = f"topic {topic} was deleted and made anew since the savepoint"
    exceptions = lambda: flink.rest.exceptions(refused)  # noqa: E731
    wait_until(lambda: said in exceptions(), 60, exceptions)
    if flink.rest.state(refused) != "FAILED":
        flink.rest.cancel(refused)
    assert streams.count("results") == 20

    again = streams.arguments(model_store=store, kafka__recreated="anew")
    running = flink.run(job, *again, savepoint=savepoint)
    scored(70)
    flink.rest.cancel(running)
    assert [r.record["id"] for r in streams.results()] == [*range(20), *range(100, 150)]
