"""SQL steps and references from Kafka, over savepoints, other parallelisms and a kill: as in batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from devservices.redis import Redis
from devservices.s3proxy import S3Proxy
from tests.feature_cluster import FeatureCluster, History, newest, online_rows
from tests.feature_enriched import NAMES, declare, streams, write_histories
from tests.streams import Sent, Streams

pytestmark = pytest.mark.cluster
COUNT, STEP_MS, PARTITIONS = 20_000, 20, 4
JOB = ROOT / "jobs" / "features.py"
PARALLELISMS = (1, 4, 3)  # one instance to many, and many to fewer that do not divide them
SLOTS = {
    "taskmanager.numberOfTaskSlots": "4",
    "taskmanager.memory.process.size": "4g",
    "execution.checkpointing.timeout": "5 min",  # four instances of all operators share one interpreter
}
STEPS, PAUSE_S = 800, 0.4
POLL_S = 1.0  # what is asked and answered takes the processors that the job has


class _Feeder(threading.Thread):
    """Sends all rows, slowly while jobs follow each other: where nothing comes after a start, a minute passes
    before the others go on."""

    def __init__(self, topics: Streams, rows: Mapping[str, Sequence[dict[str, Any]]]) -> None:
        super().__init__()
        self._topics = topics
        self._records = {
            name: [
                Sent(orjson.dumps(row), partition=at % PARTITIONS, topic=name) for at, row in enumerate(of)
            ]
            for name, of in rows.items()
        }
        self.stopped, self.hurried = threading.Event(), threading.Event()
        self.steps = 0

    def run(self) -> None:
        while self.steps < STEPS and not self.stopped.is_set():
            self.hurried.wait(PAUSE_S)
            for of in self._records.values():
                first, end = (len(of) * step // STEPS for step in (self.steps, self.steps + 1))
                self._topics.send(of[first:end])
            self.steps += 1

    def last(self, at: int) -> None:
        """What makes all before `at` final, in each partition."""
        after = {"at": at}
        last = {
            "signals": [{"id": f"last {n}", "account": "last", **after} for n in range(PARTITIONS)],
            "zips": [{"zip": 1000, **after}] * PARTITIONS,
            "networks": [{"bucket": "none", **after}] * PARTITIONS,
        }
        for name, of in last.items():
            self._topics.send(Sent(orjson.dumps(row), partition=n, topic=name) for n, row in enumerate(of))


def test_any_parallelism_goes_on_from_any_other_under_load_and_after_a_kill(
    kafka: KafkaBroker, redis_server: Redis, s3: S3Proxy, tmp_path: Path
) -> None:
    with StandaloneCluster(1, {**s3.flink_settings, **SLOTS}) as flink:
        run = FeatureCluster(flink, redis_server, s3, tmp_path)
        start = time.time_ns() // 1_000_000 - STEP_MS * COUNT - 7_200_000
        sent = streams(COUNT, start, STEP_MS, accounts=100)
        topics = Streams(kafka, partitions=PARTITIONS, records=NAMES)
        file = tmp_path / "views.py"
        # with more than one instance the source must have been idle before anything is final
        declared = declare(file, topics.topic(""), run.url("past"), idle="8 s")
        write_histories(declared, sent, run.s3)
        until = start + STEP_MS * COUNT + 2000  # all before it will be

        growing = run.growing("history", until)

        def rows() -> History:
            return run.final_rows(declared, until)

        def has(view: str, least: int) -> bool:
            return growing.count(view) >= least

        def missing() -> str:
            return run.missing(topics, rows())

        given = run.on_topics(topics)
        given["history__compact"] = "false"  # Flink's own compaction cannot go from one instance to several
        savepoint, job, least = None, "", 0
        feeder = _Feeder(topics, sent)
        feeder.start()
        try:
            for parallelism in PARALLELISMS:
                savepoint = flink.stop_with_savepoint(job) if job else None
                flags = run.flags(file, "history", **given, parallelism=str(parallelism))
                job = flink.run(JOB, *flags, savepoint=savepoint, parallelism=parallelism)
                flink.wait_running(job, 180)
                if parallelism == 4:
                    flink.kill_task_manager(0)
                    flink.add_task_manager()
                    wait_until(lambda of=job: bool(flink.rest.exceptions(of)), 100, missing)
                    flink.wait_running(job, 180)
                least = min(least + COUNT // 20, COUNT * 9 // 10)
                wait_until(partial(has, "spend_v1", least), 300, missing, POLL_S)
                least = growing.count("spend_v1")
            feeder.hurried.set()
            feeder.join(300)
        finally:
            feeder.stopped.set()
            feeder.hurried.set()
            feeder.join()
        feeder.last(until + 600_000)
        wait_until(lambda: has("spend_v1", COUNT), 300, missing, POLL_S)
        wait_until(lambda: has("towns_v1", COUNT), 100, missing, POLL_S)
        found = rows()
        online = online_rows(run, declared, found)
        flink.rest.cancel(job)
        assert topics.dead_letters() == []
        run.agrees_with_batch(declared, found, until)
        assert online["spend_v1"] == newest(found["spend_v1"])
