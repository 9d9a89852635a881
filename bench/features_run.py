"""`scripts/bench features`: the feature job's rate, freshness, state, writes, and the batch job's rate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import features_freshness, features_throughput, online_writes, report
from bench.features_batch import rows_a_second
from bench.features_job import NOWHERE, STORES, FeatureJob, Services
from bench.features_state import bytes_a_key
from bench.features_workload import event_topics
from bench.plan import Plan
from bench.throughput import Throughput
from devservices.kafka import KafkaBroker
from devservices.redis import Redis

FRESH_RATE = 2000
TILES = ("1 min", "5 min")
_WRITES, _WRITE_ROUNDS = 100_000, 5
_FRESH_MS, _EPS, _SHARE, _STATE = {"p50": 60, "p99": 200}, 60_000, 0.5, 8192


def features(broker: KafkaBroker, plan: Plan, folder: Path) -> None:
    """All figures, tables, targets, and as the last line JSON."""
    with Redis() as redis:
        services = Services(broker, redis, folder)
        runs = _rates(services, plan)
        report.console.print(report.rates(_title(plan), runs, NOWHERE, "to blackhole"))
        fresh, batch = _running(services, plan)
        report.console.print(report.latencies("Freshness: produced to read from Redis", {
            f"{FRESH_RATE:,}": fresh}, "events/s"))  # fmt: skip
        with redis.client() as client:
            writes = online_writes.measure(client, _WRITES, rounds=max(plan.rounds, _WRITE_ROUNDS))
    ours, theirs = writes.writer, writes.redis_benchmark
    report.say(f"Redis: {ours:,.0f} rows/s by our writer, {theirs:,.0f}/s by redis-benchmark")
    state = {tile: bytes_a_key(folder, tile) for tile in TILES}
    eps = report.median_eps(runs[STORES])
    numbers = {
        "events_per_s": round(eps),
        "events_per_s_blackhole": round(report.median_eps(runs[NOWHERE])),
        "share_of_blackhole": round(eps / report.median_eps(runs[NOWHERE]), 3),
        "cpu_s_per_million": {name: round(report.median_cpu(of), 1) for name, of in runs.items()},
        "freshness_ms": fresh,
        "redis_rows_per_s": round(writes.writer),
        "redis_benchmark_rows_per_s": round(writes.redis_benchmark),
        "share_of_redis_benchmark": round(writes.share, 3),
        "redis_server_us_per_row": {
            "writer": round(writes.writer_server_us, 2),
            "redis-benchmark": round(writes.redis_benchmark_server_us, 2),
        },
        "state_bytes_per_key": state,
        "batch_rows_per_s": round(batch),
        "records": plan.records,
        "rounds": plan.rounds,
    }
    report.console.print(_others(numbers))
    report.console.print(report.targets(judged(numbers)))
    print(json.dumps(numbers), flush=True)


def judged(n: Mapping[str, Any]) -> list[report.Target]:
    """What the project asks of these numbers."""
    at_least = [
        ("events/s into Redis and Parquet, one slot", n["events_per_s"], _EPS),
        ("rows/s into Redis, share of redis-benchmark", n["share_of_redis_benchmark"], _SHARE),
    ]
    at_most = [
        *(
            (f"freshness {p} at {FRESH_RATE:,} events/s, ms", n["freshness_ms"][p], most)
            for p, most in _FRESH_MS.items()
        ),
        ("bytes of a dense day in tiles of 5 minutes", n["state_bytes_per_key"]["5 min"], _STATE),
    ]
    return report.judged(at_least, at_most)


def _rates(services: Services, plan: Plan) -> dict[str, list[Throughput]]:
    """In turns, so that a slow minute of the machine meets both."""
    runs: dict[str, list[Throughput]] = {NOWHERE: [], STORES: []}
    for number in range(1, plan.rounds + 1):
        for kind, found in runs.items():
            found.append(features_throughput.run(services, plan, kind))
            report.say(
                f"round {number} of {plan.rounds}: {kind}: {found[-1].eps:,.0f} events/s, "
                f"{found[-1].cpu_s_per_million:.1f} CPU s per million"
            )
    return runs


def _running(services: Services, plan: Plan) -> tuple[dict[str, float], float]:
    """Freshness of a job that is not busy, and then on its cluster the batch job's rate."""
    with services.redis.client() as client:
        client.flushdb()
    with event_topics(services.broker, plan.partitions) as topics, FeatureJob(services, topics) as job:
        fresh = features_freshness.measure(services, plan, job, topics, FRESH_RATE)
        found = report.percentiles(fresh.ms)
        report.say(
            f"freshness at {FRESH_RATE:,} events/s: p50 {found['p50']} ms, p99 {found['p99']} ms of "
            f"{len(fresh.ms):,} values; {fresh.replaced:,} were replaced before they were seen"
        )
        job.cancel()
        batch = rows_a_second(services, job, plan.records)
        report.say(f"batch: {batch:,.0f} rows/s")
        return found, batch


def _title(plan: Plan) -> str:
    return f"Events through the feature job: {plan.records:,}, {plan.rounds} round(s), medians"


def _others(n: Mapping[str, Any]) -> Table:
    table = Table("what", "measured", title="State, batch, writes")
    for tile, size in n["state_bytes_per_key"].items():
        table.add_row(f"bytes of an account, a dense day in tiles of {tile}", f"{size:,}")
    table.add_row("jobs/backfill.py, rows/s", f"{n['batch_rows_per_s']:,}")
    table.add_row("our writer, rows/s", f"{n['redis_rows_per_s']:,}")
    table.add_row("redis-benchmark, rows/s", f"{n['redis_benchmark_rows_per_s']:,}")
    return table
