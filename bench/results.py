"""The results topic seen from outside: how far it is, and whether it holds each record once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from bench.plan import BenchError
from bench.workload import Topics


@dataclass(frozen=True, slots=True)
class Found:
    """How many results there are, records without one, and results beyond a record's first."""

    results: int
    lost: int
    repeated: int


class Results:
    """Watches one run's results topic. `close` it."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._places = [TopicPartition(topics.name("results"), p, 0) for p in range(topics.partitions)]
        self._ends = self._consumer("read_uncommitted")

    def written(self) -> int:
        """The sum of the end offsets, open transactions included: records, and with exactly-once one
        marker a partition and checkpoint, which is less than one in ten thousand."""
        return sum(self._ends.get_watermark_offsets(p, timeout=10, cached=False)[1] for p in self._places)

    def verify(self, records: int, mark: bytes, seconds: float = 60) -> None:
        """Read all that is committed. BenchError unless each of `records` is there once and has `mark`."""
        unmarked = 0

        def look(number: int, value: bytes) -> None:
            nonlocal unmarked
            unmarked += mark not in value

        found = self.read(records, look, seconds)
        if found.lost or found.repeated or unmarked:
            raise BenchError(
                f"{records} records gave {found.results} results: {found.lost} records lost, "
                f"{found.repeated} results too many, {unmarked} not scored"
            )

    def read(self, records: int, look: Callable[[int, bytes], None], seconds: float = 60) -> Found:
        """Read all that is committed, `look` at each result and the number of its record, and count.

        Transactions may still be open when it is called; it waits for them.
        """
        seen, found = bytearray(records), 0
        end = time.monotonic() + seconds + records / 20_000
        reader = self._consumer("read_committed")
        try:
            reader.assign(self._places)
            quiet = 0
            while found < records or quiet < 1:  # what comes after the last one would be a repeat
                if time.monotonic() > end:
                    break
                messages = [m for m in reader.consume(10_000, 0.5) if not _no_record(m)]
                quiet = 0 if messages else quiet + 1
                for message in messages:
                    value = message.value() or b""
                    at = value.index(b'"id":') + 5
                    number = int(value[at : value.index(b",", at)])
                    seen[number] = min(seen[number] + 1, 255)
                    look(number, value)
                found += len(messages)
        finally:
            reader.close()
        return Found(found, seen.count(0), sum(n - 1 for n in seen if n > 1))

    def close(self) -> None:
        self._ends.close()

    def _consumer(self, isolation: str) -> Consumer:
        return self._topics.reader(**{"isolation.level": isolation})


def _no_record(message: Any) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    raise BenchError(f"the results cannot be read: {error}")
