"""`scripts/bench serving`: both jobs in both modes against the bare loop, latency, a swap, memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import latency, report
from bench.model import save
from bench.plan import Plan
from bench.subjects import JobSpec, Make, ServingJob, bare_loop
from bench.swap import memory, swap
from bench.throughput import Throughput, run
from bench.workload import Topics
from devservices.kafka import KafkaBroker

BATCHES = (256, 1024)
THREAD, PROCESS, ONCE = "serve thread", "serve process", "serve thread exactly-once"
PARTITIONED, PARTITIONED_PROCESS = "serve_partitioned thread", "serve_partitioned process"
JOBS = {
    THREAD: JobSpec(),
    PARTITIONED: JobSpec("serve_partitioned.py"),
    PROCESS: JobSpec(mode="process"),
    PARTITIONED_PROCESS: JobSpec("serve_partitioned.py", "process"),
    ONCE: JobSpec(exactly_once=True),
}
RATES = (100, 2000, 20_000)
Runs = Mapping[str, Sequence[Throughput]]


def serving(broker: KafkaBroker, plan: Plan, folder: Path) -> None:
    """Measure all and print tables, the targets and, last, one line of JSON."""
    model, successor = save(folder / "model"), save(folder / "successor", seed=1)
    subjects: dict[str, Make] = {bare_name(batch): bare(model, batch) for batch in BATCHES}
    subjects |= {name: job(model, spec) for name, spec in JOBS.items()}
    runs = interleaved(broker, plan, subjects)
    timed = timings(broker, plan, model, successor)
    numbers = summary(runs, timed)
    report.console.print(report.rates(_title(plan), runs, best_bare(runs)))
    report.console.print(report.latencies("End to end, at least once, thread mode", timed["latency_ms"]))
    report.console.print(report.targets(judged(numbers)))
    print(json.dumps(numbers), flush=True)


def bare_name(batch: int) -> str:
    return f"bare loop, batches of {batch}"


def bare(model: Path, batch: int) -> Make:
    return lambda topics: bare_loop(topics, model, batch)


def job(model: Path, spec: JobSpec) -> Make:
    return lambda topics: ServingJob(topics, model, spec)


def best_bare(runs: Runs) -> str:
    """The name of the bare loop at its better batch size."""
    return max(map(bare_name, BATCHES), key=lambda name: report.median_eps(runs[name]))


def interleaved(broker: KafkaBroker, plan: Plan, subjects: Mapping[str, Make]) -> dict[str, list[Throughput]]:
    """Every subject in turn alone, round by round, so that a slow minute of the machine meets all."""
    runs: dict[str, list[Throughput]] = {name: [] for name in subjects}
    for number in range(1, plan.rounds + 1):
        for name, make in subjects.items():
            found = run(broker, plan, make)
            runs[name].append(found)
            report.say(
                f"round {number} of {plan.rounds}: {name}: {found.eps:,.0f} records/s, "
                f"{found.cpu_s_per_million:.2f} CPU s per million; "
                f"{plan.records:,} records, {plan.records:,} results, each scored once"
            )
    return runs


def timings(broker: KafkaBroker, plan: Plan, model: Path, successor: Path) -> dict[str, Any]:
    """Latency at each rate, then a swap, then memory: on one job that goes on running."""
    with Topics(broker, plan.partitions) as topics, ServingJob(topics, model, JobSpec()) as running:
        found = {}
        for rate in RATES:
            found[str(rate)] = now = report.percentiles(latency.measure(topics, plan, running, rate).ms)
            report.say(f"latency at {rate:,} records/s: p50 {now['p50']} ms, p99 {now['p99']} ms")
        swapped = swap(topics, plan, running, successor)
        report.say(f"swap of the model at 2,000 records/s: {swapped}")
        megabytes = memory(topics, running, model)
        report.say(f"memory a model: {megabytes:.1f} MB")
        running.check()
    return {"latency_ms": found, "swap": swapped, "mb_per_model": round(megabytes, 2)}


def summary(runs: Runs, timed: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the last line. Ratios are of medians over the rounds."""
    base = best_bare(runs)
    eps = {name: report.median_eps(found) for name, found in runs.items()}

    def ratio(name: str, to: str = base) -> float:
        return round(eps[name] / eps[to], 3)

    def cpu(name: str) -> float:
        return round(report.median_cpu(runs[name]), 2)

    return {
        "bare_eps": round(eps[base]),
        "serve_thread_eps": round(eps[THREAD]),
        "serve_thread_ratio": ratio(THREAD),
        "serve_process_ratio": ratio(PROCESS),
        "partitioned_thread_ratio": ratio(PARTITIONED),
        "exactly_once_ratio": ratio(ONCE, to=THREAD),
        "cpu_s_per_million": {
            "bare": cpu(base),
            "serve_thread": cpu(THREAD),
            "serve_process": cpu(PROCESS),
            "partitioned_thread": cpu(PARTITIONED),
        },
        "latency_ms": timed["latency_ms"],
        "partitioned_process_ratio": ratio(PARTITIONED_PROCESS),
        "bare_batch": next(batch for batch in BATCHES if bare_name(batch) == base),
        "swap": timed["swap"],
        "mb_per_model": timed["mb_per_model"],
    }


def judged(n: Mapping[str, Any]) -> list[report.Target]:
    """What the project asks of these numbers."""
    cpu = n["cpu_s_per_million"]["serve_thread"] / n["cpu_s_per_million"]["bare"]
    added = n["swap"]["swap_p99_ms"] - n["swap"]["before_p99_ms"]
    at_2000 = n["latency_ms"]["2000"]
    at_least = [
        ("thread mode, ratio to the bare loop", n["serve_thread_ratio"], 1.1),
        ("process mode, ratio to the bare loop", n["serve_process_ratio"], 0.7),
        ("exactly-once, ratio to at-least-once", n["exactly_once_ratio"], 0.9),
    ]
    at_most = [
        ("CPU a million records, ratio to the bare loop", cpu, 1.4),
        ("p50 at 2,000 records/s, ms", at_2000["p50"], 40),
        ("p99 at 2,000 records/s, ms", at_2000["p99"], 120),
        ("a swap adds to p99, ms", added, 50),
        ("memory a model, MB", n["mb_per_model"], 50),
    ]
    return report.judged(at_least, at_most)


def _title(plan: Plan) -> str:
    return (
        f"{plan.records:,} records of 250 bytes, {plan.rounds} round(s), medians; measured after "
        f"{plan.warm_records:,} results; each run gave each record one scored result"
    )
