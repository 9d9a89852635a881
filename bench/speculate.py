"""`scripts/bench speculate`: three candidates race for each record; all well, one stuck, one slow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench import latency, report, throughput
from bench.findings import Findings, judged, phases, saturation, summary
from bench.model import save
from bench.plan import BenchError, Plan
from bench.processes import cpu_seconds
from bench.race import CANDIDATES, CASES, Case, RaceSpec, SpeculateJob
from bench.results import Results
from bench.stamps import Stamps
from bench.throughput import Throughput
from bench.workload import Topics
from devservices.kafka import KafkaBroker

RATES = (2000, 20_000)
WARM_UP_S = 10
SATURATED = ("ok", "stuck")


def speculate(
    broker: KafkaBroker, plan: Plan, folder: Path, spec: RaceSpec, cases: Sequence[Case] = tuple(CASES)
) -> None:
    """Measure the cases and print tables, the targets and, last, one line of JSON.

    BenchError, after that, where a record was lost or decided twice.
    """
    race = _Race(broker, plan, folder, spec)
    for case in cases:
        race.latencies(case)
    for number in range(1, plan.rounds + 1):
        for case in cases:
            if case in SATURATED:
                report.say(f"round {number} of {plan.rounds}: {case}: {race.saturate(case):,.0f} records/s")
    found = race.found
    numbers = summary(found)
    report.console.print(phases(plan, numbers))
    if found.runs:
        report.console.print(saturation(plan, found))
    report.console.print(report.targets(judged(numbers)))
    print(json.dumps(numbers), flush=True)
    if found.lost or found.repeated:
        raise BenchError(f"{found.lost} records were lost and {found.repeated} results are too many")


class _Race:
    """Each measurement on a job of its own, so that no case meets what another has left behind."""

    def __init__(self, broker: KafkaBroker, plan: Plan, folder: Path, spec: RaceSpec) -> None:
        self._broker, self._plan, self._folder, self._spec = broker, plan, folder, spec
        self._models = [save(folder / name, seed) for seed, name in enumerate(CANDIDATES)]
        self.found = Findings()

    def latencies(self, case: Case) -> None:
        """End to end at each rate in turn, after a warm-up at the highest."""
        plan, found = self._plan, self.found
        with Topics(self._broker, plan.partitions) as topics, self._job(topics, case) as job:
            # Java compiles for long: what runs for weeks is measured after that
            latency.observe(topics, replace(plan, phase_s=WARM_UP_S), job, RATES[-1])
            for rate in RATES:
                stamps = Stamps(int(rate * (plan.warm_s + plan.phase_s)))
                seen = latency.observe(topics, plan, job, rate, look=stamps.look)
                found.latency.setdefault(case, {})[str(rate)] = now = report.percentiles(seen.ms)
                found.note(case, str(rate), stamps, seen.number)
                found.count(seen.lost, seen.repeated)
                report.say(
                    f"{case} at {rate:,} records/s: p50 {now['p50']} ms, p99 {now['p99']} ms; decided by "
                    f"how many answers: {found.share[case][str(rate)]}"
                )
            job.check()

    def saturate(self, case: Case) -> float:
        """Records a second from a topic that is full."""
        plan, found = self._plan, self.found
        stamps = Stamps(plan.records)

        def verify(results: Results) -> None:
            read = results.read(plan.records, stamps.look)
            found.count(read.lost, read.repeated)

        span = throughput.measure(
            self._broker, plan, lambda topics: self._job(topics, case), cpu_seconds, verify
        )
        found.runs.setdefault(case, []).append(Throughput.of(span))
        found.note(case, "saturated", stamps, np.arange(plan.warm_records, plan.records))
        return found.runs[case][-1].eps

    def _job(self, topics: Topics, case: Case) -> SpeculateJob:
        job = SpeculateJob(topics, self._models, self._spec, self._folder)
        job.hold_up(case)
        return job
