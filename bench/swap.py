"""What replacing a model in mid-stream does to the latency, and what a model costs in memory."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench import latency
from bench.model import descriptor
from bench.plan import BenchError, Plan
from bench.processes import anonymous_bytes, collect_garbage, java_with
from bench.subjects import ServingJob
from bench.workload import Topics

RATE = 2000
LEAST_S = 20  # half of it for the load, which is slow on a machine that is busy
MODELS = 20


def swap(topics: Topics, plan: Plan, job: ServingJob, successor: Path) -> dict[str, float]:
    """Publish version 2 in mid-run: p99 in ms before, while it loads, and in the second around the switch.

    BenchError if the switch was not seen in the results, or went back.
    """
    published: list[float] = []
    publication = descriptor(successor, version=2)

    def publish() -> None:
        published.append(time.time())
        topics.publish(publication)

    longer = replace(plan, phase_s=max(plan.phase_s, LEAST_S))
    seen = latency.measure(topics, longer, job, RATE, half_way=publish)
    order = np.argsort(seen.sent, kind="stable")
    sent, ms, version = seen.sent[order], seen.ms[order], seen.version[order]
    first = int(np.argmax(version == 2))
    if version[first] != 2 or version[-1] != 2:
        raise BenchError("version 2 was published and has not taken over by the end of the phase")
    switched = sent[first]  # a record that waited for the switch was sent before it: windows go by sending
    arrived = sent[version == 2] + ms[version == 2] / 1e3
    around = np.abs(sent - switched) <= 0.5
    loading = (sent >= published[0]) & (sent < switched)
    before = sent < published[0]

    def p99(rows: np.ndarray) -> float:
        return round(float(np.percentile(ms[rows], 99)), 1) if rows.any() else 0.0

    return {
        "before_p99_ms": p99(before),
        "loading_p99_ms": p99(loading),
        "swap_p99_ms": p99(around),
        "switched_after_ms": round(float(arrived.min() - published[0]) * 1000, 1),
    }


def memory(topics: Topics, job: ServingJob, model: Path) -> float:
    """MB of memory that one more model takes in the task manager: growth over 20 of them."""
    java = java_with(job.roots(), "TaskManagerRunner")
    names = [f"type-{i}" for i in range(MODELS)]
    # Some first, for what loading takes once: libraries, compiled code, buffers that are used again.
    _load(topics, job, model, [f"first-{i}" for i in range(5)])
    before = _settled(java)
    _load(topics, job, model, names)
    return (_settled(java) - before) / MODELS / 1e6


def _load(topics: Topics, job: ServingJob, model: Path, names: list[str]) -> None:
    topics.publish(*(descriptor(model, data_type=name) for name in names))
    job.wait_served(dict.fromkeys(names, 1))


def _settled(java: int) -> int:
    collect_garbage(java)
    return anonymous_bytes(java)
