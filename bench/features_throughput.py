"""Events a second through the feature job: a full topic, and what happens between two marks in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeVar

import pyarrow.parquet as pq

from bench.features_job import STORES, FeatureJob, Services
from bench.features_workload import ACCOUNTS, VIEW, declare, event_topics, fill
from bench.plan import BenchError, Plan
from bench.processes import cpu_seconds
from bench.throughput import Span, Throughput
from bench.topics import RunTopics
from devservices.process import wait_until
from schemas.results.records import DeadLetter, decode
from udfs.io.folder_files import visible_files
from udfs.stores.online.redis_reader import RedisReader
from udfs.stores.stored_views import stored_views

_STORED_S = 120
_LOOK_S = 2
T = TypeVar("T")


def run(services: Services, plan: Plan, kind: str) -> Throughput:
    """Measure the job alone. BenchError if it fails, hangs, or the stores do not hold what they should."""
    return Throughput.of(measure(services, plan, kind, cpu_seconds))


def measure(services: Services, plan: Plan, kind: str, probe: Callable[[Sequence[int]], T]) -> Span[T]:
    """The span from the plan's warm-up to the last event; `probe` gets the job's process ids."""
    with services.redis.client() as client:
        client.flushdb()
    with (
        event_topics(services.broker, plan.partitions) as topics,
        FeatureJob(services, topics, kind) as job,
        closing(_Marks(topics)) as marks,
    ):
        fill(topics, plan)
        before = marks.wait("warm", plan, job), probe(job.roots())
        after = marks.wait("last", plan, job), probe(job.roots())
        if kind == STORES:
            _verify(services, plan, job)
        return Span(after[0] - before[0], plan.records - plan.warm_records, before[1], after[1])


class _Marks:
    """The dead letters of the late events that mark how far the job is. `close` it."""

    def __init__(self, topics: RunTopics) -> None:
        self._partitions, self._seen = topics.partitions, dict[str, int]()
        self._reader = topics.reader("dead-letters")

    def close(self) -> None:
        self._reader.close()

    def wait(self, mark: str, plan: Plan, job: FeatureJob) -> float:
        """When the mark of each partition was seen (monotonic seconds)."""
        limit = checked = time.monotonic()
        limit += plan.limit_s
        while self._seen.get(mark, 0) < self._partitions:
            message = self._reader.poll(0.1)
            now = time.monotonic()
            if message is not None and message.error() is None:
                self._take(decode(DeadLetter, message.value() or b""))
            if now > limit:
                raise BenchError(f"the mark {mark!r} did not come in {plan.limit_s:.0f} s.\n{job.tail()}")
            if now - checked > _LOOK_S:
                job.check()
                checked = now
        return time.monotonic()

    def _take(self, letter: DeadLetter) -> None:
        found = [mark for mark in ("warm", "last") if f"event '{mark}" in letter.reason]
        if letter.code != "late" or not found:
            raise BenchError(f"an event that is good was refused: {letter.code}: {letter.reason}")
        self._seen[found[0]] = self._seen.get(found[0], 0) + 1


def _verify(services: Services, plan: Plan, job: FeatureJob) -> None:
    """In Redis the accounts' counts add up to all events, and history has a row of each."""
    reader = RedisReader(stored_views(declare(services.folder / "read.toml"), "online"), services.store)
    accounts = [(f"a{n}",) for n in range(ACCOUNTS)]

    def counted() -> int:
        found = reader.read([(VIEW, ["n"])], [accounts], time.time_ns() // 1_000_000)[0]
        return sum(one.values[0] or 0 for one in found)

    def kept() -> int:
        return sum(pq.read_metadata(file).num_rows for file in visible_files(job.history / VIEW))

    try:
        wait_until(lambda: counted() == plan.records, _STORED_S, lambda: f"Redis counts {counted()} events")
        wait_until(lambda: kept() == plan.records, _STORED_S, lambda: f"history has {kept()} rows")
    finally:
        reader.close()
