"""The records of every run: 250 bytes of JSON with 11 features, and the topics they travel by."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson
from confluent_kafka import Producer

from bench.features import FIELDS
from bench.plan import BenchError, Plan
from devservices.kafka import KafkaBroker

DATA_TYPE = "wine"
_SIZE = 250
_VARIANTS = 10_000
_CHUNK = 256  # records in a row to one partition, as the default partitioner does without keys
OUTPUTS = ("dead-letters", "model-events", "model-stats")


@dataclass(frozen=True)
class Topics:
    """Topics of one run, named by a prefix of their own."""

    broker: KafkaBroker
    partitions: int
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def name(self, which: str) -> str:
        return f"{self.prefix}-{which}"

    def create(self) -> None:
        gone_soon = {"file.delete.delay.ms": "1000"}
        wide = (self.name("records"), self.name("results"))
        self.broker.create_topics(*wide, partitions=self.partitions, config=gone_soon)
        self.broker.create_topics(*map(self.name, ("models", *OUTPUTS)))

    def delete(self) -> None:
        names = [self.name(which) for which in ("records", "results", "models", *OUTPUTS)]
        admin = self.broker.admin  # ends its requests when it is collected
        for done in admin.delete_topics(names).values():
            done.result()

    def publish(self, *descriptors: bytes) -> None:
        """Put descriptors on the model stream."""
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "message.max.bytes": 1 << 23})
        for descriptor in descriptors:
            producer.produce(self.name("models"), descriptor)
        if producer.flush(30):
            raise BenchError("the broker did not take the model descriptors within 30 s")


def rests() -> list[bytes]:
    """What follows `{"t":T,"id":I,` in records of 250 bytes, given 12 digits for T and I together."""
    rng = random.Random(11)
    made = []
    for _ in range(_VARIANTS):
        features = {name: round(rng.uniform(0, 100), 3) for name in FIELDS}
        text = orjson.dumps(features)[1:-1]
        room = _SIZE - len(b'{"t":,"id":,') - 12 - len(text) - len(b',"note":""}')
        made.append(b'%b,"note":"%b"}' % (text, b"x" * max(room, 0)))
    return made


def record(rest: bytes, number: int, micros: int = 0) -> bytes:
    """One record; `micros` is the producer's clock, epoch microseconds."""
    return b'{"t":%d,"id":%d,%b' % (micros, number, rest)


def fill(topics: Topics, plan: Plan) -> float:
    """Put the plan's records on the topic in one transaction; returns the epoch second of its commit.

    Read-committed readers, which all measured programs are, see no record before the commit and then have
    all of them in front of them: so each starts with a loaded model and a full topic.
    """
    producer = Producer(
        {
            "bootstrap.servers": topics.broker.bootstrap,
            "log_level": 3,
            "transactional.id": topics.prefix,
            "transaction.timeout.ms": 300_000,
            "message.timeout.ms": 300_000,
            "linger.ms": 20,
            "batch.size": 262_144,
            "queue.buffering.max.messages": 500_000,
        }
    )
    producer.init_transactions(60)
    producer.begin_transaction()
    name = topics.name("records")
    for number, value in _values(plan.records):
        place = {"key": b"%d" % (number % 1000)} if plan.keys else {"partition": _turn(number, plan)}
        while True:
            try:
                producer.produce(name, value, **place)
                break
            except BufferError:
                producer.poll(0.05)
        if number % 1000 == 0:
            producer.poll(0)
    producer.commit_transaction(120)
    return time.time()


def _turn(number: int, plan: Plan) -> int:
    return number // _CHUNK % plan.partitions


def _values(count: int) -> Iterator[tuple[int, bytes]]:
    made = rests()
    for number in range(count):
        yield number, record(made[number % _VARIANTS], number)
