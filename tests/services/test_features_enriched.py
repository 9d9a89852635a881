"""SQL steps and references from Kafka, over a savepoint, a new parallelism and a kill: as in batch."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from devservices.redis import Redis
from devservices.s3proxy import S3Proxy
from schemas.errors import StoreError
from schemas.features.declarations import Declarations
from tests.feature_cluster import FeatureCluster, newest, online_rows
from tests.feature_enriched import NAMES, declare, streams, write_histories
from tests.feature_streams import read_history
from tests.streams import Sent, Streams
from udfs.stores.history.compute import compute_rows
from udfs.stores.history.consistency import comparable, rows_of
from udfs.stores.stored_views import stored_views

COUNT, STEP_MS = 20_000, 20


def test_references_outlive_a_savepoint_another_parallelism_and_a_kill(
    kafka: KafkaBroker, flink: StandaloneCluster, redis_server: Redis, s3: S3Proxy, tmp_path: Path
) -> None:
    run = FeatureCluster(flink, redis_server, s3, tmp_path)
    start = time.time_ns() // 1_000_000 - STEP_MS * COUNT - 7_200_000
    sent = streams(COUNT, start, STEP_MS, accounts=100)
    topics = Streams(kafka, partitions=1, records=NAMES)
    file = tmp_path / "views.py"
    # with two instances the source must have been idle before anything is settled
    declared = declare(file, topics.topic(""), run.url("past"), idle="3 s")
    write_histories(declared, sent, run.s3)
    settled = start + STEP_MS * COUNT + 2000  # all before it will be

    def feed(rows_by: dict[str, list[dict[str, Any]]]) -> None:
        for name in NAMES:
            topics.send(Sent(orjson.dumps(row), topic=name) for row in rows_by[name])

    def part(begin: float, end: float) -> dict[str, list[dict[str, Any]]]:
        return {n: sent[n][int(len(sent[n]) * begin) : int(len(sent[n]) * end)] for n in NAMES}

    def rows() -> dict[str, list[tuple[Any, ...]]]:
        found = read_history(declared, run.url("history"), run.s3)
        return {view: [r for r in of if r[-1] < settled] for view, of in found.items()}

    def has(view: str, least: int) -> bool:
        try:
            return len(rows()[view]) >= least
        except StoreError:  # a file that the server is only just putting together
            return False

    def missing() -> str:
        letters = Counter((letter.data_type, letter.code) for letter in topics.dead_letters())
        found = {view: len(of) for view, of in rows().items()}
        return f"rows are missing: {found}; dead letters: {letters}\n{flink.logs()}"

    given = {"kafka__bootstrap": kafka.bootstrap, "kafka__start": "earliest", "kafka__group": run.bucket}
    given |= {"kafka__dead_letters": topics.topic("dead-letters"), "checkpoint_seconds": "2"}
    given["history__compact"] = "false"  # Flink's own compaction cannot go from one instance to several
    job = ROOT / "jobs" / "features.py"
    feed(part(0, 0.5))
    first = flink.run(job, *run.flags(file, "history", **given, parallelism="1"), parallelism=1)
    flink.wait_running(first, 180)
    wait_until(lambda: has("spend_v1", COUNT // 4), 300, missing)
    savepoint = flink.stop_with_savepoint(first)
    flags = run.flags(file, "history", **given, parallelism="2")
    second = flink.run(job, *flags, savepoint=savepoint, parallelism=2)
    try:
        flink.wait_running(second, 180)
        feed(part(0.5, 0.75))
        wait_until(lambda: has("spend_v1", COUNT * 5 // 8), 300, missing)
        flink.kill_task_manager(0)
        flink.add_task_manager()
        feed(part(0.75, 1))
        after = {"at": settled + 600_000}
        feed(
            {
                "signals": [{"id": "last", "account": "last", **after}],
                "zips": [{"zip": 1000, **after}],
                "networks": [{"bucket": "none", **after}],
            }
        )
        wait_until(lambda: has("spend_v1", COUNT), 300, missing)
        wait_until(lambda: has("towns_v1", COUNT), 100, missing)
        assert flink.rest.exceptions(second), "the job has not noticed that a task manager died"
        found = rows()
        online = online_rows(run, declared, found)
    finally:
        flink.rest.cancel(second)
    assert topics.dead_letters() == []
    _agrees_with_batch(run, declared, found, settled)
    assert online["spend_v1"] == newest(found["spend_v1"])


def _agrees_with_batch(
    run: FeatureCluster, declared: Declarations, found: dict[str, list[tuple[Any, ...]]], settled: int
) -> None:
    stored = stored_views(declared, "history")
    for view in declared.views:
        computed = rows_of(compute_rows(declared, view, run.s3), stored[view.id])
        wanted = Counter(comparable(row) for row in computed if row[-1] < settled)
        assert Counter(found[view.id]) == wanted, view.id
