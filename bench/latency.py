"""End to end: from the producer's clock, which travels in the record, to the consumer's, on one machine."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, TopicPartition
from numpy.typing import NDArray

from bench.plan import BenchError, Plan
from bench.subjects import Subject
from bench.workload import Topics
from devservices.process import Process

_QUIET_S = 60


Look = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """One row a record after the warm-up: its `number`, `sent` in epoch seconds, `ms` until its result was in
    hand, `version` of the model that scored it (0 where results do not say).

    Of all records, those of the warm-up too: `lost` gave no result, `repeated` results were too many.
    """

    number: NDArray
    sent: NDArray
    ms: NDArray
    version: NDArray
    lost: int
    repeated: int


def measure(
    topics: Topics,
    plan: Plan,
    subject: Subject,
    rate: int,
    half_way: Callable[[], None] | None = None,
) -> Seen:
    """As `observe`; BenchError unless each record gave one result."""
    seen = observe(topics, plan, subject, rate, half_way=half_way)
    if seen.lost or seen.repeated:
        raise BenchError(f"at {rate} a second {seen.lost} records were lost and {seen.repeated} repeated")
    return seen


def observe(
    topics: Topics,
    plan: Plan,
    subject: Subject,
    rate: int,
    *,
    half_way: Callable[[], None] | None = None,
    look: Look | None = None,
) -> Seen:
    """Send at `rate` records a second and time each result; `half_way` is called once in the middle,
    in a thread of its own, and `look` with each result and the number of its record.

    A record is lost when no result has come for a minute. BenchError where producer or subject have failed.
    """
    total = int(rate * (plan.warm_s + plan.phase_s))
    reader = _at_the_end(topics)
    sent, got, versions = (np.zeros(total, "int64") for _ in range(3))
    counts = bytearray(total)
    place = (topics.broker.bootstrap, topics.name("records"), str(topics.partitions))
    command = [sys.executable, "-m", "bench.paced_producer", *place, str(rate), str(total)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            producer = Process("paced-producer", command, Path(folder) / "paced-producer.log")
            try:
                missing, half = total, total - int(rate * (plan.warm_s + plan.phase_s / 2))
                last = time.monotonic()
                while True:
                    message = reader.poll(0.5)
                    now = time.time_ns() // 1000
                    if message is None or message.error() is not None:
                        # what comes after the last one would be a repeat
                        if not missing or time.monotonic() - last > _QUIET_S:
                            break
                        if producer.exit_code:
                            raise BenchError(f"the producer failed at {rate} a second.\n{producer.tail()}")
                        continue
                    last = time.monotonic()
                    value = message.value() or b""
                    clock, number = _clock_and_number(value)
                    counts[number] = min(counts[number] + 1, 255)
                    if counts[number] > 1:
                        continue
                    sent[number], got[number], versions[number] = clock, now, _version(value)
                    if look is not None:
                        look(number, value)
                    missing -= 1
                    if missing == half and half_way is not None:
                        # beside this loop: its clock must not wait
                        threading.Thread(target=half_way, daemon=True).start()
            finally:
                producer.kill()
    finally:
        reader.close()
    if missing:
        subject.check()
    if missing == total:
        raise BenchError(f"no result at {rate} a second.\n{subject.tail()}")
    kept = sent >= sent[sent > 0].min() + plan.warm_s * 1e6
    if not kept.any():
        raise BenchError(f"the machine is too busy: nobody could send {rate} records a second")
    return Seen(
        np.flatnonzero(kept),
        sent[kept] / 1e6,
        (got - sent)[kept] / 1e3,
        versions[kept],
        lost=missing,
        repeated=sum(n - 1 for n in counts if n > 1),
    )


def _at_the_end(topics: Topics) -> Consumer:
    reader = topics.reader()
    places = []
    for partition in range(topics.partitions):
        place = TopicPartition(topics.name("results"), partition)
        place.offset = reader.get_watermark_offsets(place, timeout=10)[1]
        places.append(place)
    reader.assign(places)
    return reader


def _clock_and_number(value: bytes) -> tuple[int, int]:
    clock, number, _ = value.split(b",", 2)
    return int(clock[5:]), int(number[5:])


def _version(value: bytes) -> int:
    at = value.rfind(b'"version":')
    return int(value[at + 10 : value.index(b",", at)]) if at > 0 else 0
