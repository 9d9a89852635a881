"""A speculating job goes on from its savepoint at another parallelism: it neither repeats nor forgets."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT
from schemas.plans.plan import read_plan
from schemas.results.decided import AnswerState, Decided
from schemas.results.records import Outcome
from tests import models
from tests.decided_results import DecidedResults, assert_decided_by_plans, time_by_broker, timed_results
from tests.feeder import Feeder
from tests.streams import Streams
from udfs.models.descriptor import DECIDE, build

FALLBACK = {"policy": "fallback", "value": {"y": -1.0}}
"""For whatever comes while models are loading."""
POLICY = {
    "policy": "prefer",
    "candidates": ["stuck"],
    "otherwise": {"policy": "first", "otherwise": FALLBACK},
}
PLANS = {v: json.dumps({"policy": POLICY, "deadline_ms": ms}) for v, ms in ((1, 5000), (2, 300))}
HOUR_MS = 3_600_000


def test_batches_that_were_open_at_the_stop_are_decided_after_it(
    kafka: KafkaBroker, flink: StandaloneCluster, tmp_path: Path
) -> None:
    streams = Streams(kafka)
    (tmp_path / "faults.json").write_text(json.dumps({"stuck": HOUR_MS}))

    def start(parallelism: int, savepoint: str | None = None) -> str:
        arguments = streams.arguments(
            kafka__exactly_once="true",
            parallelism=str(parallelism),
            batch__min_ms="200",
            batch__max_ms="1000",
            executors__model_types='["TENSORFLOWSAVED"]',
            executors__call_timeout_ms=str(HOUR_MS),
            executors__fault_injection=str(tmp_path / "faults.json"),
        )
        script = ROOT / "jobs" / "speculate.py"
        started = flink.run(script, *arguments, savepoint=savepoint, parallelism=parallelism)
        flink.wait_running(started, 180)
        return started

    def decide_by(version: int) -> None:
        plan = PLANS[version]
        streams.publish(build(data_type="wine", name="plan", operation=DECIDE, version=version, plan=plan))

    for name, answer in (("fast", 1), ("stuck", 2)):
        data = models.zipped(models.constant_saved_model(tmp_path / name, answer))
        streams.publish(
            build(data_type="wine", name=name, model_type="TENSORFLOWSAVED", version=answer, data=data)
        )
    decide_by(1)
    results = DecidedResults(streams)
    time_by_broker(streams)
    job = start(1)
    try:
        with Feeder(streams, 200) as feeder:
            results.wait_new(100, _has_waited)
            stopped_at = _now()
            savepoint = flink.stop_with_savepoint(job)
            decide_by(2)
            started_at = _now()
            job = start(2, savepoint)
            results.wait_new(200, lambda d: d.plan_version == 2)
            sent = feeder.stop()
        results.wait_all(sent, otherwise=flink.logs)
    finally:
        flink.rest.cancel(job)
    timed = timed_results(streams)
    found = [decided for _, decided in timed]
    assert Counter(d.result.record["id"] for d in found) == Counter(range(sent))
    planned = [d for d in found if d.plan]  # the first records may have come before any plan
    assert len(planned) > len(found) - 100
    assert {(d.result.outcome, d.result.model) for d in planned} <= {
        (Outcome.SCORED, "fast"),
        (Outcome.SCORED, ""),
    }
    assert_decided_by_plans(planned, {("plan", v): read_plan(plan) for v, plan in PLANS.items()})
    # the time that a decision took tells when its batch was routed, at the latest
    kept = [d for came, d in timed if came > started_at and came - d.result.ms < stopped_at]
    assert {d.plan_version for d in kept} == {1}
    assert "fast" in {d.result.model for d in kept}, "what it had answered before the stop was kept, too"
    assert streams.dead_letters() == []


def _has_waited(decided: Decided) -> bool:
    """In vain, for the candidate that is stuck; it may have come a batch later than the other one."""
    stuck = decided.answers.get("stuck")
    return stuck is not None and stuck.outcome is AnswerState.LATE


def _now() -> int:
    return time.time_ns() // 1_000_000
