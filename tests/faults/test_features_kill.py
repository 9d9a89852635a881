"""A task manager dies while features are computed: history has each row once, Redis the newest of each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from devservices.redis import Redis
from devservices.s3proxy import S3Proxy
from tests.feature_cluster import FeatureCluster, History, newest, online_rows
from tests.feature_streams import declare, encoded, events, write_history
from tests.streams import Sent, Streams

COUNT, STEP_MS = 30_000, 20
POLL_S = 1.0  # what is asked and answered takes the processors that the job has


def test_a_killed_task_manager_loses_and_doubles_nothing(
    kafka: KafkaBroker, flink: StandaloneCluster, redis_server: Redis, s3: S3Proxy, tmp_path: Path
) -> None:
    run = FeatureCluster(flink, redis_server, s3, tmp_path)
    start = time.time_ns() // 1_000_000 - STEP_MS * COUNT - 3_600_000
    sent = events(COUNT, start, STEP_MS, accounts=100)
    streams = Streams(kafka, partitions=2, records=("signals",))
    file = tmp_path / "views.toml"
    # no partition is empty, and none is idle because a busy machine is slow to read it
    declared = declare(file, streams.topic("signals"), run.url("events"), idle="1 h")
    write_history(sent, run.url("events"), run.s3)
    until = start + STEP_MS * COUNT  # all before it will be
    # what follows makes final all before it, in both partitions, and belongs to an account of its own
    last: list[dict[str, Any]] = [
        {"id": f"last {i}", "account": "last", "at": until + 60_000 + i} for i in range(2)
    ]

    def feed(part: list[dict[str, Any]]) -> None:
        streams.send(Sent(value, partition=i % 2, topic="signals") for i, value in enumerate(encoded(part)))

    growing = run.growing("history", until)

    def rows() -> History:
        return run.final_rows(declared, until)

    def missing() -> str:
        return run.missing(streams, rows())

    flags = run.flags(file, "history", **run.on_topics(streams))
    job = flink.run(ROOT / "jobs" / "features.py", *flags)
    try:
        flink.wait_running(job, 180)
        feed(sent[: COUNT // 2])
        wait_until(lambda: growing.count("spend_v1") > 0, 200, lambda: f"no history\n{flink.logs()}")
        flink.kill_task_manager(0)
        flink.kill_task_manager(0)
        flink.add_task_manager(2)
        feed(sent[COUNT // 2 :])
        feed(last)
        wait_until(lambda: growing.count("spend_v1") >= COUNT, 300, missing, POLL_S)
        wait_until(lambda: growing.count("peak_v1") >= COUNT, 100, missing, POLL_S)
        assert flink.rest.exceptions(job), "the job has not noticed that its task manager died"
        found = rows()
        online = online_rows(run, declared, found)
    finally:
        flink.rest.cancel(job)
    assert streams.dead_letters() == []
    run.agrees_with_batch(declared, found, until)
    assert online["spend_v1"] == newest(found["spend_v1"])
