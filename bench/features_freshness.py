"""From an event handed to the producer to its value read from Redis, on one machine and by one clock."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.features_job import FeatureJob, Services
from bench.features_producer import PROBE_EVERY, WATCHED
from bench.features_workload import VIEW, declare
from bench.plan import BenchError, Plan
from bench.topics import RunTopics
from devservices.process import Process
from udfs.stores.online.base import State
from udfs.stores.online.redis_reader import RedisReader
from udfs.stores.stored_views import stored_views

_QUIET_S = 60
_WARM_UPS = 3
_LOOK_S = 0.002
"""Between two looks at Redis: what is measured is at most so much too long, and the time of the look."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """Milliseconds of each value that was seen. `replaced`: probes of which only a later value of their
    account was seen."""

    ms: NDArray
    replaced: int


def measure(services: Services, plan: Plan, job: FeatureJob, topics: RunTopics, rate: int) -> Freshness:
    """Send at `rate` events a second, first for three times the plan's warm-up, whose arrival is waited for:
    in small batches a JVM takes so long to compile what it runs, and what the job is behind with meanwhile
    does not count. BenchError where a value stays away for a minute."""
    warm = _WARM_UPS * int(rate * plan.warm_s)
    count = warm + int(rate * plan.phase_s)
    reader = RedisReader(stored_views(declare(services.folder / "read.toml"), "online"), services.store)
    program = [sys.executable, "-m", "bench.features_producer", services.broker.bootstrap]
    command = [*program, topics.name("events"), str(topics.partitions), str(rate)]
    try:
        for numbers in (range(warm), range(warm, count)):
            found = _send_and_see(
                services, job, [*command, f"{numbers.start}", f"{numbers.stop}"], numbers, reader
            )
    finally:
        reader.close()
    return found


def _send_and_see(
    services: Services, job: FeatureJob, command: Sequence[str], numbers: range, reader: RedisReader
) -> Freshness:
    entities = [(name.decode(),) for name in WATCHED]
    newest, last = np.full(len(WATCHED), numbers.start - 1), _last_probes(numbers.stop)
    ages: list[float] = []
    producer = Process("features-producer", command, services.folder / "features-producer.log")
    try:
        heard = time.monotonic()
        while (newest < last).any():
            rows = reader.read([(VIEW, ["amount"])], [entities], time.time_ns() // 1_000_000)[0]
            seen = time.time() * 1000
            for place, row in enumerate(rows):
                number = int(row.values[0]) if row.state is State.PRESENT else -1
                if number > newest[place]:
                    newest[place], heard = number, time.monotonic()
                    ages.append(seen - row.event_time)
            if time.monotonic() - heard > _QUIET_S:
                job.check()
                raise BenchError(f"values stay away.\n{producer.tail()}\n{job.tail()}")
            time.sleep(_LOOK_S)
    finally:
        producer.kill()
    sent = sum(number % PROBE_EVERY == 0 for number in numbers)
    return Freshness(np.array(ages), sent - len(ages))


def _last_probes(count: int) -> NDArray:
    """The number of each watched account's last probe among `count` events."""
    probes = -(-count // PROBE_EVERY)
    last = [probes - 1 - (probes - 1 - place) % len(WATCHED) for place in range(len(WATCHED))]
    return np.array(last) * PROBE_EVERY
