"""How work spreads over instances: shares by Flink's own counters, and throughput where waiting bounds it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import model, report
from bench.plan import BenchError, Plan
from bench.race import CANDIDATES, RaceSpec, SpeculateJob
from bench.results import Results
from bench.subjects import JobSpec, ServingJob
from bench.throughput import measure
from bench.workload import Topics, fill
from devservices.kafka import KafkaBroker
from devservices.process import wait_until

SHARES = (1, 2, 3, 4, 8, 16)
LINEAR = (1, 2, 4, 8)
_PARTITIONS = 48  # divided evenly by every parallelism of SHARES
_COUNTER = "take_results_apart.numRecordsOut"
_BATCH = 64  # small micro-batches, so that few records are many calls
_RECORDS = 96_000  # of a run that is only counted
_EACH = 20_000  # of a run with models that wait, an instance


class Waiting(ServingJob):
    """Models that wait 20 ms a call."""

    def __init__(self, topics: Topics, models: Path, parallelism: int) -> None:
        super().__init__(topics, models, JobSpec("bench/waiting_serve.py", parallelism=parallelism))

    def settings(self) -> dict[str, str]:
        return super().settings() | {"batch.max-records": str(_BATCH), "max-batch": str(_BATCH)}


def scale(broker: KafkaBroker, plan: Plan, folder: Path) -> None:
    """The table and the last line."""
    models = model.save(folder / "model")
    shares: dict[str, dict[str, float]] = {"serve_partitioned": {}, "speculate": {}}
    for job, found in shares.items():
        for parallelism in SHARES:
            results = _shares(broker, models, folder, job, parallelism)
            worst = round(max(results) / (sum(results) / len(results)), 3)
            found[str(parallelism)] = worst
            report.say(f"{job} at {parallelism}: results by instance {results}; largest to mean {worst}")
    eps = {n: [_waiting(broker, models, n) for _ in range(plan.rounds)] for n in LINEAR}
    base = median(eps[1])
    linear = {str(n): round(median(found) / base / n, 3) for n, found in eps.items() if n > 1}
    report.say(f"records/s by instances, models that wait 20 ms a call: {eps}")
    print(json.dumps({"worst_share": shares, "of_linear": linear}), flush=True)


def _shares(broker: KafkaBroker, models: Path, folder: Path, job: str, parallelism: int) -> list[int]:
    """Results by instance of a job that has read all records."""
    plan = Plan(records=_RECORDS, rounds=1, partitions=_PARTITIONS)
    topics = Topics(broker, _PARTITIONS)
    topics.create()
    results = Results(topics)
    try:
        with _subject(topics, models, folder, job, parallelism) as subject:
            fill(topics, plan)
            wait_until(
                lambda: sum(counted(subject, parallelism)) >= plan.records,
                plan.limit_s,
                lambda: f"{counted(subject, parallelism)} of {plan.records} results.\n{subject.tail()}",
            )
            return counted(subject, parallelism)
    finally:
        results.close()
        topics.delete()


def _subject(topics: Topics, models: Path, folder: Path, job: str, parallelism: int) -> ServingJob:
    if job == "speculate":
        spec = RaceSpec(parallelism=parallelism)
        racing = SpeculateJob(topics, [models] * len(CANDIDATES), spec, folder)
        racing.hold_up("ok")
        return racing
    return ServingJob(topics, models, JobSpec(f"{job}.py", parallelism=parallelism))


def counted(subject: ServingJob, parallelism: int) -> list[int]:
    """Results by instance, by the counter of the operator that takes them apart, which has its neighbour's
    parallelism and no exchange before it. BenchError where Flink has no such counter."""
    rest = subject.cluster.rest
    vertices: Sequence[Mapping[str, Any]] = rest.call(f"/jobs/{subject.job_id}")["vertices"]
    found = [vertex["id"] for vertex in vertices if "take results apart" in vertex["name"]]
    if len(found) != 1:
        raise BenchError(f"the job has {len(found)} tasks that take results apart, and not one")
    counts = []
    for index in range(parallelism):
        path = f"/jobs/{subject.job_id}/vertices/{found[0]}/subtasks/{index}/metrics?get={_COUNTER}"
        values = rest.call(path)
        counts.append(int(values[0]["value"]) if values else 0)
    return counts


def _waiting(broker: KafkaBroker, models: Path, parallelism: int) -> float:
    """Records a second."""
    plan = Plan(records=_EACH * parallelism, rounds=1, partitions=_PARTITIONS)
    span = measure(broker, plan, lambda topics: Waiting(topics, models, parallelism), lambda roots: 0.0)
    return span.results / span.seconds
