"""How work spreads over instances: shares by Flink's own counters, and throughput where waiting bounds it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from bench import features_workload, model, report
from bench.features_job import FeatureJob, Services
from bench.plan import BenchError, Plan
from bench.race import CANDIDATES, RaceSpec, SpeculateJob
from bench.subjects import JobSpec, ServingJob
from bench.throughput import measure
from bench.workload import Topics, fill
from devservices.kafka import KafkaBroker
from devservices.process import wait_until
from devservices.redis import Redis

SHARES = (1, 2, 3, 4, 8, 16)
LINEAR = (1, 2, 4, 8)
_PARTITIONS = 48  # divided evenly by every parallelism of SHARES
_RESULTS = "take results apart", r"take_results_apart\.numRecordsOut"
"""Part of a task's name, and the name of an operator's counter in it: see `counted`."""
_ROWS = "Correlate", r"Correlate.*\.numRecordsOut"
"""Final rows: what takes the lines for history apart follows the views without an exchange."""
_BATCH = 64  # small micro-batches, so that few records are many calls
_RECORDS = 96_000  # of a run that is only counted
_LIMIT_S = 300  # of such a run: sixteen instances share two cores, and one interpreter
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
    shares["features"] = _feature_shares(broker, folder)
    eps = {n: [_waiting(broker, models, n) for _ in range(plan.rounds)] for n in LINEAR}
    base = median(eps[1])
    linear = {str(n): round(median(found) / base / n, 3) for n, found in eps.items() if n > 1}
    report.say(f"records/s by instances, models that wait 20 ms a call: {eps}")
    print(json.dumps({"worst_share": shares, "of_linear": linear}), flush=True)


def _shares(broker: KafkaBroker, models: Path, folder: Path, job: str, parallelism: int) -> list[int]:
    """Results by instance of a job that has read all records."""
    plan = Plan(records=_RECORDS, rounds=1, partitions=_PARTITIONS)
    with (
        Topics(broker, _PARTITIONS) as topics,
        _subject(topics, models, folder, job, parallelism) as subject,
    ):
        fill(topics, plan)
        return _all_counted(subject, parallelism, plan, *_RESULTS)


def _subject(topics: Topics, models: Path, folder: Path, job: str, parallelism: int) -> ServingJob:
    if job == "speculate":
        spec = RaceSpec(parallelism=parallelism)
        racing = SpeculateJob(topics, [models] * len(CANDIDATES), spec, folder)
        racing.hold_up("ok")
        return racing
    return ServingJob(topics, models, JobSpec(f"{job}.py", parallelism=parallelism))


def _feature_shares(broker: KafkaBroker, folder: Path) -> dict[str, float]:
    """Parallelism -> largest to mean of the final rows by instance."""
    found: dict[str, float] = {}
    with Redis() as redis:
        for parallelism in SHARES:
            rows = _rows(Services(broker, redis, folder), parallelism)
            worst = found[str(parallelism)] = round(max(rows) / (sum(rows) / len(rows)), 3)
            report.say(f"features at {parallelism}: rows by instance {rows}; largest to mean {worst}")
    return found


def _rows(services: Services, parallelism: int) -> list[int]:
    """Final rows by instance of the job that has read all events."""
    plan = Plan(records=_RECORDS, rounds=1, partitions=_PARTITIONS)
    with (
        features_workload.event_topics(services.broker, _PARTITIONS) as topics,
        FeatureJob(services, topics, parallelism=parallelism) as job,
    ):
        features_workload.fill(topics, plan)
        return _all_counted(job, parallelism, plan, *_ROWS)


def _all_counted(
    subject: ServingJob | FeatureJob, parallelism: int, plan: Plan, task: str, counter: str
) -> list[int]:
    """`counted`, when it has come to all records of the plan. ServiceError where it does not in time."""
    wait_until(
        lambda: sum(counted(subject, parallelism, task, counter)) >= plan.records,
        _LIMIT_S,
        lambda: f"{counted(subject, parallelism, task, counter)} of {plan.records}.\n{subject.tail()}",
    )
    return counted(subject, parallelism, task, counter)


def counted(subject: ServingJob | FeatureJob, parallelism: int, task: str, counter: str) -> list[int]:
    """By instance, a counter of the one task whose name has `task` in it: of an operator that has its
    neighbour's parallelism and no exchange before it. BenchError where Flink has no such counter."""
    rest = subject.cluster.rest
    vertices: Sequence[Mapping[str, Any]] = rest.call(f"/jobs/{subject.job_id}")["vertices"]
    found = [vertex["id"] for vertex in vertices if task in vertex["name"]]
    if len(found) != 1:
        raise BenchError(f"the job has {len(found)} tasks with {task!r} in their names, and not one")
    counts = []
    for index in range(parallelism):
        path = f"/jobs/{subject.job_id}/vertices/{found[0]}/subtasks/{index}/metrics"
        names = [one["id"] for one in rest.call(path) if re.fullmatch(counter, one["id"])]
        values = rest.call(f"{path}?get={quote(names[0])}") if names else []
        counts.append(int(values[0]["value"]) if values else 0)
    return counts


def _waiting(broker: KafkaBroker, models: Path, parallelism: int) -> float:
    """Records a second."""
    plan = Plan(records=_EACH * parallelism, rounds=1, partitions=_PARTITIONS)
    span = measure(broker, plan, lambda topics: Waiting(topics, models, parallelism), lambda roots: 0.0)
    return span.results / span.seconds
