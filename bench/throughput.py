"""One throughput run: a full topic, and what happens between two marks on the results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from bench.plan import BenchError, Plan
from bench.processes import cpu_seconds
from bench.results import Results
from bench.subjects import ClusterJob, Make, Subject
from bench.workload import Topics, fill
from devservices.kafka import KafkaBroker

_LOOK_S = 0.05
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span(Generic[T]):
    """Between two marks: seconds, results, and what a probe of the processes said at each."""

    seconds: float
    results: int
    before: T
    after: T


@dataclass(frozen=True, slots=True)
class Throughput:
    """Results a second, and processor seconds a million results; the broker's are not counted."""

    eps: float
    cpu_s_per_million: float

    @classmethod
    def of(cls, span: Span[float]) -> Throughput:
        """Of a span probed with `cpu_seconds`."""
        return cls(span.results / span.seconds, (span.after - span.before) / span.results * 1e6)


def run(broker: KafkaBroker, plan: Plan, make: Make) -> Throughput:
    """Measure one subject alone. BenchError if it fails, hangs, or does not give each record one result."""
    return Throughput.of(measure(broker, plan, make, cpu_seconds))


def measure(
    broker: KafkaBroker,
    plan: Plan,
    make: Make,
    probe: Callable[[Sequence[int]], T],
    verify: Callable[[Results], None] | None = None,
) -> Span[T]:
    """The span from the plan's warm-up to the last result; `probe` gets the subject's process ids.

    `verify`: what is done with the results instead of `Results.verify`.
    """
    with (
        Topics(broker, plan.partitions) as topics,
        closing(Results(topics)) as results,
        make(topics) as subject,
    ):
        fill(topics, plan)
        span = between_marks(results.written, plan, subject, probe)
        if verify is not None:
            verify(results)
        else:
            results.verify(plan.records, subject.mark)
        return span


def between_marks(
    done: Callable[[], int],
    plan: Plan,
    subject: Subject | ClusterJob,
    probe: Callable[[Sequence[int]], T],
) -> Span[T]:
    """The span from the plan's warm-up to its last record, of which `done` says how many are.

    BenchError if the subject fails or hangs.
    """
    roots = subject.roots()
    limit = time.monotonic() + plan.limit_s

    def mark(wanted: int) -> tuple[float, int, T]:
        checked = time.monotonic()
        while (count := done()) < wanted:
            now = time.monotonic()
            if now > limit:
                raise BenchError(
                    f"{count} of {plan.records} records after {plan.limit_s:.0f} s.\n{subject.tail()}"
                )
            if now - checked > 2:
                subject.check()
                checked = now
            time.sleep(_LOOK_S)
        return time.monotonic(), count, probe(roots)

    warm, last = mark(plan.warm_records), mark(plan.records)
    # The last look may see more than all records: markers of transactions.
    return Span(last[0] - warm[0], min(last[1], plan.records) - warm[1], warm[2], last[2])
