"""One job on a cluster with topics of its own, what is sent to it, and what it says."""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from types import TracebackType

import orjson
import psutil
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT
from faults.inputs import EVIL, HostileRecord
from schemas.results.records import ModelEvent, decode

GOOD = "good"
PARTITIONS = 4
_OUTPUTS = ("results", "dead-letters", "model-events", "model-stats")
_LARGE = {"max.message.bytes": str(1 << 24)}
_ANY_TIME = {"message.timestamp.after.max.ms": str(2**63 - 1)}
"""Kafka 4 refuses a whole batch for one record of the future."""
_ARRIVAL = {"message.timestamp.type": "LogAppendTime"}


class Job:
    """`with Job(cluster, broker, "serve.py") as job:` submits it, waits until it runs, and cancels it."""

    def __init__(self, cluster: StandaloneCluster, broker: KafkaBroker, script: str, isolation: str) -> None:
        self.cluster, self.broker, self.script, self.isolation = cluster, broker, script, isolation
        self._prefix = uuid.uuid4().hex[:8]
        client = {"bootstrap.servers": broker.bootstrap, "linger.ms": 1, "message.max.bytes": 1 << 24}
        self.producer = Producer(client | {"log_level": 1})  # it outlives the broker, and would say so
        broker.create_topics(
            self.topic(GOOD), self.topic(EVIL), partitions=PARTITIONS, config=_LARGE | _ANY_TIME
        )
        broker.create_topics(self.topic("models"), config=_LARGE | {"retention.ms": "-1"})
        broker.create_topics(*map(self.topic, _OUTPUTS), config=_ARRIVAL)

    def __enter__(self) -> Job:
        self.id = self.cluster.run(ROOT / "jobs" / self.script, *self._arguments())
        self.cluster.wait_running(self.id, 180)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cluster.rest.cancel(self.id)

    @property
    def name(self) -> str:
        return f"{self.script.removesuffix('.py')}, {self.isolation}"

    def topic(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def publish(self, descriptor: bytes) -> None:
        self.producer.produce(self.topic("models"), descriptor)
        assert self.producer.flush(60) == 0

    def restarts(self) -> int:
        """How often Flink has started the job again, and how many failures it knows of, whichever is more."""
        rest = self.cluster.rest
        (found,) = rest.call(f"/jobs/{self.id}/metrics?get=numRestarts") or [{"value": 0}]
        failures = rest.call(f"/jobs/{self.id}/exceptions?maxExceptions=20")["exceptionHistory"]["entries"]
        return max(int(float(found["value"])), len(failures))

    def memory(self) -> int:
        """Bytes of memory of all processes of the task managers, shared pages counted once."""
        total = 0
        for manager in self.cluster.task_managers:
            guard = psutil.Process(manager.group)
            for process in (guard, *guard.children(recursive=True)):
                try:
                    total += process.memory_full_info().pss
                except psutil.NoSuchProcess:  # a check that has just ended
                    continue
        return total

    def read(self, output: str) -> Iterator[Message]:
        """All that is on an output topic now."""
        consumer = self._consumer(output)
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(self.topic(output), 0), 30)
            while end:
                for message in consumer.consume(10_000, 1):
                    if not message.error():
                        yield message
                        end = 0 if (message.offset() or 0) + 1 >= end else end
        finally:
            consumer.close()

    def count(self, output: str) -> int:
        consumer = self._consumer(output)
        try:
            return int(consumer.get_watermark_offsets(TopicPartition(self.topic(output), 0), 30)[1])
        finally:
            consumer.close()

    def events(self) -> Events:
        return Events(self._consumer("model-events"))

    def _consumer(self, output: str) -> Consumer:
        made = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": "faults"})
        made.assign([TopicPartition(self.topic(output), 0, 0)])
        return made

    def _arguments(self) -> list[str]:
        settings = {
            "name": f"faults-{self._prefix}",
            "kafka.bootstrap": self.broker.bootstrap,
            "kafka.group": self._prefix,
            "kafka.records": json.dumps({self.topic(GOOD): GOOD, self.topic(EVIL): EVIL}),
            "kafka.start": "earliest",
            "checkpoint-seconds": "2",
            "buffer": json.dumps({"seconds": 10}),
            "kafka.models": self.topic("models"),
            "models.isolation": self.isolation,
        }
        settings |= {f"kafka.{name}": self.topic(name) for name in _OUTPUTS}
        return [part for name, value in settings.items() for part in (f"--{name}", value)]


class Events:
    """The model events of a job, in their order."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def next(self, seconds: float) -> ModelEvent | None:
        """The next one, or None where none has come in time."""
        message = self._consumer.poll(seconds)
        return None if message is None or message.error() else decode(ModelEvent, message.value() or b"")

    def skip(self) -> None:
        """Pass over those that are there."""
        while self.next(0.3) is not None:
            pass


class Load:
    """Good records at a rate, and hostile ones among them: `with Load(job, 500, records) as load:`.

    Good record n is `{"id": n, "x": [n % 1000, 1]}`. `sent` and `sent_hostile` count. Hostile ones are sent
    while `hostile` is set.
    """

    def __init__(self, job: Job, rate: int, records: Sequence[HostileRecord]) -> None:
        self.sent = self.sent_hostile = 0
        self.hostile = False
        self._job, self._rate, self._records = job, rate, records
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        try:
            hostile = itertools.cycle(self._records)
            begun, steps = time.monotonic(), 0
            while not self._stop.is_set():
                until = int((time.monotonic() - begun) * self._rate)
                for number in range(self.sent, until):
                    self._send_good(number)
                self.sent = until
                steps += 1
                if self.hostile and steps % 20 == 0:
                    self._send_hostile(next(hostile))
                self._job.producer.poll(0)
                self._stop.wait(0.01)
            assert self._job.producer.flush(60) == 0
        except BaseException as e:  # told to the thread that waits for it
            self._failure = e

    def _send_good(self, number: int) -> None:
        value = orjson.dumps({"id": number, "x": [number % 1000, 1.0]})
        now = time.time_ns() // 1_000_000
        topic = self._job.topic(GOOD)
        self._job.producer.produce(topic, value, partition=number % PARTITIONS, timestamp=now)

    def _send_hostile(self, record: HostileRecord) -> None:
        headers = list(record.headers)
        self._job.producer.produce(
            self._job.topic(EVIL),
            record.value,
            record.key,
            self.sent_hostile % PARTITIONS,
            timestamp=record.time or 0,
            headers=headers,  # type: ignore[arg-type]
        )
        self.sent_hostile += 1
