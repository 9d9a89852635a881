"""The topics of one run, and how messages get into them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.plan import BenchError
from devservices.kafka import KafkaBroker

_FLUSH_S = 120
BULK = {
    "linger.ms": 20,
    "batch.size": 262_144,
    "queue.buffering.max.messages": 500_000,
    "message.timeout.ms": 300_000,
}
"""Of a producer that fills topics."""


class RunTopics:
    """Topics named by a prefix of their own: `wide` of `partitions` partitions, `narrow` of one. A context
    that makes them, and deletes them at its end."""

    def __init__(
        self, broker: KafkaBroker, partitions: int, wide: Sequence[str], narrow: Sequence[str]
    ) -> None:
        self.broker, self.partitions = broker, partitions
        self.prefix = uuid.uuid4().hex[:8]
        self._wide, self._narrow = wide, narrow

    def name(self, which: str) -> str:
        return f"{self.prefix}-{which}"

    def __enter__(self) -> Self:
        gone_soon = {"file.delete.delay.ms": "1000"}
        self.broker.create_topics(*map(self.name, self._wide), partitions=self.partitions, config=gone_soon)
        self.broker.create_topics(*map(self.name, self._narrow))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        admin = self.broker.admin  # ends its requests when it is collected
        for done in admin.delete_topics(list(map(self.name, (*self._wide, *self._narrow)))).values():
            done.result()

    def reader(self, which: str = "", **settings: Any) -> Consumer:
        """A consumer, of the first partition of a topic where one is named."""
        own = {"bootstrap.servers": self.broker.bootstrap, "group.id": "bench", "enable.auto.commit": False}
        made = Consumer(own | settings)
        if which:
            made.assign([TopicPartition(self.name(which), 0, 0)])
        return made

    @contextmanager
    def at_once(self, which: str) -> Iterator[Callable[..., None]]:
        """What puts messages into a topic, in one transaction.

        Read-committed readers, which all measured programs are, see none of them before its end and then have
        all of them in front of them: so each starts with a loaded model and a full topic.
        """
        own = {"log_level": 3, "transactional.id": self.prefix, "transaction.timeout.ms": 300_000}
        producer = Producer({**BULK, **own, "bootstrap.servers": self.broker.bootstrap})
        producer.init_transactions(60)
        producer.begin_transaction()

        def put(value: bytes, **place: Any) -> None:
            send(producer, self.name(which), value, **place)
            producer.poll(0)

        yield put
        if producer.flush(_FLUSH_S):
            raise BenchError(f"the broker did not take all messages of {which} within {_FLUSH_S} s")
        producer.commit_transaction(_FLUSH_S)


def send(producer: Producer, topic: str, value: bytes, wait_s: float = 0.05, **place: Any) -> None:
    """Hand a message over, and wait while the client's queue is full: a broker that does not keep up."""
    while True:
        try:
            producer.produce(topic, value, **place)
            return
        except BufferError:
            producer.poll(wait_s)
