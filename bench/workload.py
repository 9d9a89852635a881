"""The records of every run: 250 bytes of JSON with 11 features, and the topics they travel by."""

from __future__ import annotations

import random

import orjson
from confluent_kafka import Producer

from bench.features import FIELDS
from bench.plan import BenchError, Plan
from bench.topics import RunTopics
from devservices.kafka import KafkaBroker

DATA_TYPE = "wine"
_SIZE = 250
_VARIANTS = 10_000
_CHUNK = 256  # records in a row to one partition, as the default partitioner does without keys
OUTPUTS = ("dead-letters", "model-events", "model-stats")


class Topics(RunTopics):
    """Of records and results, and of all that a serving job reads and writes beside them."""

    def __init__(self, broker: KafkaBroker, partitions: int) -> None:
        super().__init__(broker, partitions, ("records", "results"), ("models", *OUTPUTS))

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


def fill(topics: Topics, plan: Plan) -> None:
    """Put the plan's records on the topic, all at once."""
    made = rests()
    with topics.at_once("records") as put:
        for number in range(plan.records):
            place = {"key": b"%d" % (number % 1000)} if plan.keys else {"partition": _turn(number, plan)}
            put(record(made[number % _VARIANTS], number), **place)


def _turn(number: int, plan: Plan) -> int:
    return number // _CHUNK % plan.partitions
