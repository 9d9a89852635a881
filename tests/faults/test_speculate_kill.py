"""A task manager that runs the candidates dies under load: every record is decided, and once."""

from __future__ import annotations

import json
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from schemas.plans.plan import read_plan
from schemas.results.records import EventKind, Outcome
from tests import models
from tests.decided_results import DecidedResults, assert_decided_by_plans, time_by_broker, timed_results
from tests.feeder import Feeder
from tests.streams import Sent, Streams
from udfs.models.descriptor import DECIDE, build

COUNT, PER_SECOND = 100_000, 4000
FACTORS = {"one": 1.0, "two": 2.0, "five": 5.0}
PLAN = json.dumps({
    "policy": {"policy": "median", "output": "y", "least": 2, "otherwise": {
        "policy": "first", "otherwise": {"policy": "fallback", "value": {"y": [-1.0]}}}},
    "deadline_ms": 2000,
})  # fmt: skip


class Numbered(Feeder):
    """Records whose `x` tells them apart."""

    def _record(self, n: int) -> Sent:
        now, partition = time.time_ns() // 1_000_000, n % self._streams.partitions
        return Sent(orjson.dumps({"id": n, "x": [n, 1]}), partition=partition, timestamp=now)


def test_each_record_is_decided_once_though_the_candidates_task_manager_dies(
    kafka: KafkaBroker, flink: StandaloneCluster, tmp_path: Path
) -> None:
    streams = Streams(kafka)
    for name, factor in FACTORS.items():
        weights = [(np.array([[factor], [0]], "float32"), np.array([factor], "float32"))]
        data = models.zipped(models.saved_model(tmp_path / name, weights))
        streams.publish(
            build(data_type="wine", name=name, model_type="TENSORFLOWSAVED", version=1, data=data)
        )
    streams.publish(build(data_type="wine", name="plan", operation=DECIDE, version=1, plan=PLAN))
    arguments = streams.arguments(
        kafka__exactly_once="true",
        batch__min_ms="100",
        batch__max_ms="500",
        executors__model_types='["TENSORFLOWSAVED"]',
        executors__slots="apart",
    )
    results = DecidedResults(streams)
    time_by_broker(streams)
    job = flink.run(ROOT / "jobs" / "speculate.py", *arguments)
    try:
        flink.wait_running(job, 180)
        wait_until(
            lambda: sum(e.kind is EventKind.SERVED for e in streams.events()) == len(FACTORS), 120, flink.logs
        )
        with Numbered(streams, PER_SECOND) as feeder:
            wait_until(
                lambda: streams.count("results") > COUNT // 5, 120, lambda: f"no results\n{flink.logs()}"
            )
            killed_at = time.time_ns() // 1_000_000
            kill_candidates(flink, job)
            flink.add_task_manager()
            wait_until(lambda: feeder.sent >= COUNT, 120, lambda: f"{feeder.sent} sent")
            sent = feeder.stop()
        results.wait_all(sent, otherwise=flink.logs)
        assert flink.rest.exceptions(job), "the job has not noticed that its task manager died"
    finally:
        flink.rest.cancel(job)
    found = [decided for _, decided in timed_results(streams)]
    assert len(found) == sent
    assert {d.result.record["id"] for d in found} == set(range(sent))
    assert {d.result.outcome for d in found} == {Outcome.SCORED}
    assert_decided_by_plans(found, {("plan", 1): read_plan(PLAN)})
    for decided in found:
        n = decided.result.record["id"]
        for name, answer in decided.answers.items():
            assert answer.scores in ({}, {"y": [FACTORS[name] * (n + 1)]}), decided
    assert streams.dead_letters() == []
    written = sorted(message.timestamp()[1] for message in streams.read("results", committed=False))
    before, after = max(pairwise(written), key=lambda two: two[1] - two[0])
    rules = Counter(d.rule for d in found)
    assert rules["median"], rules
    print(f"\nno decision for {after - before} ms, from {before - killed_at} ms after the kill on; {rules}")


def kill_candidates(flink: StandaloneCluster, job: str) -> None:
    """Kill the one task manager that runs nothing but the candidates."""
    where: dict[str, str] = {}
    for vertex in flink.rest.call(f"/jobs/{job}")["vertices"]:
        (task,) = flink.rest.call(f"/jobs/{job}/vertices/{vertex['id']}")["subtasks"]
        where[vertex["name"]] = task["taskmanager-id"]
    (lost,) = {at for name, at in where.items() if name.startswith("execute")}
    assert {at for name, at in where.items() if "collect" in name} != {lost}
    (index,) = (i for i, p in enumerate(flink.task_managers) if lost in p.log.read_text(errors="replace"))
    flink.kill_task_manager(index)
