"""A serving job's topics on a real broker: fill them, run the job, read what came out."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from devservices.kafka import KafkaBroker
from devservices.process import ROOT, Process
from schemas.results.records import DeadLetter, ModelEvent, decode
from schemas.results.results import Scored, read_result

OUTPUTS = ("results", "dead-letters", "model-events", "model-stats")


@dataclass(frozen=True)
class Sent:
    """One record to produce."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int = 0
    timestamp: int = 0
    topic: str = "wine"


class Streams:
    """Topics of one test, named by a prefix of its own."""

    def __init__(
        self, broker: KafkaBroker, partitions: int = 4, records: tuple[str, ...] = ("wine",)
    ) -> None:
        self.broker = broker
        self.prefix = uuid.uuid4().hex[:8]
        self.partitions = partitions
        self.records = records
        self._logs = tempfile.TemporaryDirectory(prefix="millrace-flink-")
        # Kafka 4 refuses a whole batch for one record of the future.
        large = {"max.message.bytes": str(1 << 24), "message.timestamp.after.max.ms": str(2**63 - 1)}
        broker.create_topics(*map(self.topic, records), partitions=partitions, config=large)
        broker.create_topics(self.topic("models"), config={"retention.ms": "-1"})
        broker.create_topics(*map(self.topic, OUTPUTS))
        self.producer = Producer(
            {"bootstrap.servers": broker.bootstrap, "linger.ms": 5, "message.max.bytes": 1 << 24}
        )

    def topic(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def of(self, *records: str) -> Streams:
        """The same topics; of those of records these alone are fed, and read by a job."""
        narrowed = copy.copy(self)
        narrowed.records = records
        return narrowed

    def send(self, records: Iterable[Sent]) -> int:
        count = 0
        for count, r in enumerate(records, 1):  # noqa: B007
            topic, headers = self.topic(r.topic), list(r.headers)
            while True:
                try:
                    self.producer.produce(
                        topic, r.value, r.key, r.partition, timestamp=r.timestamp, headers=headers
                    )
                    break
                except BufferError:
                    self.producer.poll(0.1)
            self.producer.poll(0)
        assert self.producer.flush(60) == 0
        return count

    def publish(self, descriptor: bytes, key: bytes | None = None) -> None:
        self.producer.produce(self.topic("models"), descriptor, key)
        assert self.producer.flush(60) == 0

    def arguments(self, **more: str) -> list[str]:
        """The job's settings as flags; `kafka__group="x"` becomes `--kafka.group x`."""
        pairs = ",".join(f'"{self.topic(r)}":"{r}"' for r in self.records)
        values = {
            "kafka.bootstrap": self.broker.bootstrap,
            "kafka.group": self.prefix,
            "kafka.records": f"{{{pairs}}}",
            "kafka.start": "earliest",
            "name": f"serve-{self.prefix}",
            "parallelism": "1",
            "checkpoint-seconds": "1",
            **{f"kafka.{name}": self.topic(name) for name in ("models", "results")},
            **{f"kafka.{name}": self.topic(name) for name in OUTPUTS[1:]},
        }
        values |= {name.replace("__", ".").replace("_", "-"): value for name, value in more.items()}
        return [part for name, value in values.items() for part in (f"--{name}", value)]

    def run_bounded(self, job: str, seconds: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a job on its own mini cluster until it has scored what is there."""
        command = [sys.executable, str(ROOT / "jobs" / job), *self.arguments(bounded="true", **more)]
        return subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"FLINK_LOG_DIR": self._logs.name},
        )

    @contextmanager
    def running(self, job: str, **more: str) -> Iterator[Process]:
        """A job on a mini cluster of its own, until the block ends."""
        command: list[str | Path] = [sys.executable, ROOT / "jobs" / job, *self.arguments(**more)]
        logs = Path(self._logs.name)
        process = Process(job, command, logs / "job.out", {"FLINK_LOG_DIR": str(logs)})
        try:
            yield process
        finally:
            process.stop(5)

    def run_until(self, count: int, job: str, seconds: float = 300, **more: str) -> None:
        """Run a job on a mini cluster until `count` results and dead letters have come out."""
        with self.running(job, **more) as process:
            process.wait_ready(lambda: self.count("results") + self.count("dead-letters") >= count, seconds)

    def read(self, output: str, committed: bool = True) -> list[Message]:
        """Everything that is on an output topic now."""
        topic = self.topic(output)
        consumer = Consumer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "group.id": "reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed" if committed else "read_uncommitted",
                "enable.partition.eof": True,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, 0, 0)])
            found: list[Message] = []
            while True:
                for message in consumer.consume(10_000, 0.2):  # waits for so many, or so long
                    if message.error():
                        return found
                    found.append(message)
        finally:
            consumer.close()

    def growing(self, output: str) -> Growing:
        return Growing(self.broker.bootstrap, self.topic(output))

    def count(self, output: str, partition: int = 0) -> int:
        """How many messages an output topic has, without reading them; markers of transactions count too."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": "counter"})
        try:
            return consumer.get_watermark_offsets(TopicPartition(self.topic(output), partition), 30)[1]
        finally:
            consumer.close()

    def results(self) -> list[Scored]:
        return [read_result(m.value()) for m in self.read("results")]

    def dead_letters(self) -> list[DeadLetter]:
        return [decode(DeadLetter, m.value()) for m in self.read("dead-letters")]

    def events(self) -> list[ModelEvent]:
        return [decode(ModelEvent, m.value()) for m in self.read("model-events")]


class Growing:
    """What committed transactions have put on an output topic, read while it grows: each message once."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        config = {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False}
        self._consumer = Consumer({**config, "isolation.level": "read_committed"})
        self._consumer.assign([TopicPartition(topic, 0, 0)])

    def more(self) -> list[bytes]:
        """Values that have come since the last call, within a fifth of a second. Raises `KafkaException`."""
        values = []
        for message in self._consumer.consume(10_000, 0.2):
            if (error := message.error()) is not None:
                raise KafkaException(error)
            values.append(message.value() or b"")
        return values

    def close(self) -> None:
        self._consumer.close()
