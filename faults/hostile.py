"""Every hostile input to a running job on a cluster, under a load of good records of another data type.

What must hold: the job is never started again, no good record is lost, doubled or scored by another model
than the one that says so, no task manager ends, memory comes back, each input is told of in an event.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ServiceError, wait_until
from faults import bad_records
from faults.graphs import frozen
from faults.inputs import EVIL, Hostile, of_folder, ours
from faults.job import GOOD, Events, Job, Load
from schemas.results.records import DeadLetter, EventKind, ModelEvent, Outcome, decode
from schemas.results.results import DIGEST_DIGITS, read_result
from udfs.models.descriptor import DECIDE, WITHDRAW, build

_GOOD_PLAN = '{"policy": {"policy": "first"}, "deadline_ms": 10000}'
_MEMORY_AGAIN = 1.1
_WHOLE_HEAP = {"env.java.opts.taskmanager": "-XX:+UseParallelGC -XX:+AlwaysPreTouch"}
"""So that memory grows by what models take, and not by the part of its heap that Java has used so far."""
_SLOWER_MS = 100


@dataclass(frozen=True, slots=True)
class HostilePlan:
    """`jobs`: scripts of jobs; `isolations`: of their models, each in turn; `rate`: good records a second;
    `usual_s`: seconds of load before the first input; `told_s`: until an input must be told of; `cases`:
    folders with more inputs."""

    jobs: Sequence[str]
    isolations: Sequence[str]
    rate: int
    usual_s: float
    told_s: float
    cases: Sequence[Path]


def hostile(plan: HostilePlan) -> dict[str, Any]:
    """The figures of each job with each isolation, and whether all that must hold did."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = [*ours(Path(folder)), *(one for cases in plan.cases for one in of_folder(cases))]
    figures: dict[str, Any] = {}
    for script, isolation in product(plan.jobs, plan.isolations):
        given = [one for one in inputs if isolation == "process" or not one.kernels]
        with (
            KafkaBroker() as broker,
            StandaloneCluster(2, _WHOLE_HEAP) as cluster,
            Job(cluster, broker, script, isolation) as job,
        ):
            figures[job.name] = _under_fire(job, plan, given)
    figures["inputs"] = len(inputs)
    figures["held"] = all(f["held"] for f in figures.values() if isinstance(f, dict))
    return figures


def _under_fire(job: Job, plan: HostilePlan, inputs: Sequence[Hostile]) -> dict[str, Any]:
    managers, events = set(job.cluster.rest.task_managers()), job.events()
    data = frozen(lambda x: x[:, 0] * 2.0)
    digest = hashlib.sha256(data).hexdigest()[:DIGEST_DIGITS]
    job.publish(build(data_type=GOOD, name=GOOD, version=1, data=data))
    job.publish(build(data_type=GOOD, operation=DECIDE, plan=_GOOD_PLAN, version=1))
    wait_until(lambda: _serves(events.next(1)), 180, lambda: f"no model serves\n{job.cluster.logs()}")
    fates: dict[str, str] = {}
    starts: list[int] = []
    with Load(job, plan.rate, list(bad_records.hostile())) as load:
        wait_until(lambda: job.count("results") > plan.rate, 180, lambda: f"no results\n{job.cluster.logs()}")
        time.sleep(plan.usual_s / 2)
        begun = _now_ms()
        time.sleep(plan.usual_s)
        memory, first = job.memory(), _now_ms()
        load.hostile = True
        events.skip()
        for one in inputs:
            starts.append(_now_ms())
            fates[one.name] = _fate(job, events, one, plan.told_s)
            print(f"{job.name}: {one.name}: {fates[one.name]}", file=sys.stderr, flush=True)
        last = _now_ms()
        load.hostile = False
        after = _memory_after(job, memory)
    sent, sent_hostile = load.sent, load.sent_hostile
    _wait_for_all(job, sent + sent_hostile)
    found = _Results(job, sent, digest)
    usual, under = found.p99(begun, first), found.p99(first, last)
    each = zip(inputs, starts, [*starts[1:], last], strict=True)
    by_input = Counter({one.name: found.p99(start, end) for one, start, end in each})
    figures = {
        "restarts": job.restarts(),
        "good": sent,
        "lost": found.lost,
        "doubled": found.doubled,
        "wrong": found.wrong,
        "wrong_kinds": dict(found.kinds.most_common(5)),
        "hostile_records": sent_hostile,
        "hostile_records_out": found.hostile,
        "p99_usual_ms": usual,
        "p99_ms": under,
        "slowest": dict(by_input.most_common(5)),
        "task_managers_lost": len(managers - set(job.cluster.rest.task_managers())),
        "memory_mb": [round(memory / 1e6), round(after / 1e6)],
        "seconds": round((last - first) / 1000),
        "untold": [name for name, fate in fates.items() if fate == "untold"],
        "fates": dict(Counter(fate.split(":")[0] for fate in fates.values())),
    }
    nothing = ("restarts", "lost", "doubled", "wrong", "task_managers_lost", "untold")
    if figures["restarts"]:
        print(job.cluster.rest.exceptions(job.id), file=sys.stderr)
    figures["held"] = (
        not any(figures[name] for name in nothing)
        and found.hostile == sent_hostile
        and after <= memory * _MEMORY_AGAIN
        and under <= usual + _SLOWER_MS
    )
    return figures


def _serves(event: ModelEvent | None) -> bool:
    return event is not None and (event.data_type, event.kind) == (GOOD, EventKind.SERVED)


def _fate(job: Job, events: Events, one: Hostile, seconds: float) -> str:
    """What the job says of it; a model that serves has some time to show what it does, and is withdrawn."""
    job.publish(one.descriptor)
    said = _told(events, one, seconds)
    if not said.startswith(EventKind.SERVED.value):
        return said
    over = time.monotonic() + _ROUND_S
    while time.monotonic() < over:
        event = events.next(0.5)
        if event is not None and event.name == one.name and event.kind is EventKind.QUARANTINED:
            return f"served, then {event.kind.value}: {event.reason[:80]}"
    job.publish(build(data_type=EVIL, name=one.name, operation=WITHDRAW))
    return said


_ROUND_S = 12.0
"""Each hostile record is sent about twice in this time."""
_ON_THE_WAY = (EventKind.ABANDONED, EventKind.WITHDRAWN, EventKind.SUPERSEDED)


def _told(events: Events, one: Hostile, seconds: float) -> str:
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        event = events.next(0.5)
        if event is None or event.data_type == GOOD or event.kind in _ON_THE_WAY:
            continue
        if event.name not in (one.name, EVIL, "plan", "n", "") and not event.name.startswith("\x01"):
            continue
        return f"{event.kind.value}: {event.step}: {event.reason[:80]!r}"
    return "untold"


def _memory_after(job: Job, before: int) -> int:
    """The memory when it has come back, or after a minute."""
    over = time.monotonic() + 60
    while (now := job.memory()) > before * _MEMORY_AGAIN and time.monotonic() < over:
        time.sleep(1)
    return now


def _wait_for_all(job: Job, count: int) -> None:
    """Until there are as many results and dead letters as records, or for three minutes."""
    try:
        wait_until(lambda: job.count("results") + job.count("dead-letters") >= count, 180, lambda: "")
    except ServiceError:
        return


class _Results:
    """What became of the good records and of the others. `wrong`: scored by another model than stamped, or
    with another score than its own record has, or not scored at all."""

    def __init__(self, job: Job, sent: int, digest: str) -> None:
        counts, self._sent_at = np.zeros(sent, "int32"), np.zeros(sent, "int64")
        self._ms = np.zeros(sent, "int64")
        self.wrong = self.hostile = 0
        self.kinds: Counter[str] = Counter()
        for message in job.read("results"):
            result = read_result(message.value() or b"")
            if result.data_type != GOOD:
                self.hostile += 1
                continue
            number = result.record["id"]
            counts[number] += 1
            expected = (Outcome.SCORED, GOOD, 1, digest, {"y": 2.0 * (number % 1000)})
            stamp = (result.outcome, result.model, result.version, result.digest, result.scores)
            if stamp != expected:
                self.wrong += 1
                self.kinds[f"{result.outcome.value}: {result.reason[:60]}"] += 1
            self._sent_at[number] = result.event_time or 0
            self._ms[number] = message.timestamp()[1] - (result.event_time or 0)
        for message in job.read("dead-letters"):
            letter = decode(DeadLetter, message.value() or b"")
            self.hostile += letter.data_type != GOOD
        self.lost, self.doubled = int((counts == 0).sum()), int((counts > 1).sum())

    def p99(self, start: int, end: int) -> int:
        """Milliseconds from the producer to the broker's log, of records sent within these ms; 0 of none."""
        some = self._ms[(self._sent_at >= start) & (self._sent_at < end)]
        return round(float(np.percentile(some, 99))) if len(some) else 0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
