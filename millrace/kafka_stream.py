"""Kafka for the command: one confirmed message out, and topics in, to their end or for ever."""

from __future__ import annotations

import logging
import time
import zlib
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from schemas.errors import SourceError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

_SEEK_FROM = 5000
"""Messages that are passed over rather than read, to come to the next one that is wanted."""

quiet = logging.getLogger("millrace.kafka")
quiet.addHandler(logging.NullHandler())  # what matters is raised, as one sentence
quiet.propagate = False


def send(
    bootstrap: str,
    topic: str,
    *,
    key: bytes,
    beside: bytes,
    value: bytes,
    client: Mapping[str, str],
    timeout_s: float,
) -> tuple[int, int]:
    """Send one message and wait until all in-sync replicas have it; `(partition, offset)`.

    Messages with the same `beside` go to one partition, in their order, whatever their keys.

    Raises `SourceError` where that is not confirmed within `timeout_s`.
    """
    from confluent_kafka import KafkaException, Producer  # noqa: PLC0415

    reports: list[tuple[Any, Any]] = []
    troubles: list[str] = []
    settings = {
        "bootstrap.servers": bootstrap,
        "acks": "all",
        "enable.idempotence": True,
        "message.timeout.ms": int(timeout_s * 1000),
        "error_cb": lambda e: troubles.append(e.str()),
        "logger": quiet,
        **client,
    }
    try:
        producer = Producer(settings)
        found = producer.list_topics(topic, timeout_s).topics[topic]
        if found.error is not None:
            raise SourceError(f"the message was not delivered to {topic} at {bootstrap}: {found.error.str()}")
        partition = zlib.crc32(beside) % len(found.partitions)
        producer.produce(topic, value, key, partition, on_delivery=lambda e, m: reports.append((e, m)))
        producer.flush(timeout_s + 1)
    except (KafkaException, BufferError, ValueError, TypeError) as e:
        raise SourceError(f"the message was not delivered to {topic} at {bootstrap}: {_text(e)}") from e
    error, message = reports[0] if reports else (None, None)
    if message is None or error is not None:
        reason = error.str() if error is not None else f"no answer within {timeout_s:g} s"
        seen = f" ({troubles[-1]})" if troubles else ""
        raise SourceError(f"the message was not delivered to {topic} at {bootstrap}: {reason}{seen}")
    return message.partition(), message.offset()


def to_end(
    bootstrap: str, topic: str, client: Mapping[str, str], timeout_s: float
) -> Iterator[tuple[bytes | None, bytes | None]]:
    """`(key, value)` of all that the topic holds now; `value` is None where the key was deleted.

    Raises `SourceError` where there is no such topic, or nothing comes for `timeout_s`.
    """
    with _consumer(bootstrap, topic, client, timeout_s, from_beginning=True) as (consumer, partitions):
        for message in _messages(consumer, partitions, f"{topic} at {bootstrap}", timeout_s):
            yield message.key(), message.value()


def values(bootstrap: str, topic: str, client: Mapping[str, str], timeout_s: float) -> Iterator[bytes]:
    """As `to_end`, without keys and what was deleted."""
    for _, value in to_end(bootstrap, topic, client, timeout_s):
        if value is not None:
            yield value


def read_at(
    bootstrap: str,
    topic: str,
    wanted: Mapping[int, Collection[int]],
    client: Mapping[str, str],
    timeout_s: float,
) -> Iterator[tuple[int, int, bytes]]:
    """(partition, offset, value) of the messages at these offsets that are still there, in order.

    `wanted`: partition -> offsets. Raises `SourceError` where there is no such topic or partition, or nothing
    comes for `timeout_s`.
    """
    from confluent_kafka import TopicPartition  # noqa: PLC0415

    with _consumer(bootstrap, topic, client, timeout_s, from_beginning=True) as (consumer, partitions):
        for partition, offsets in sorted(wanted.items()):
            if partition not in partitions:
                raise SourceError(f"{topic} at {bootstrap} has no partition {partition}")
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout_s)
            left = deque(sorted(o for o in set(offsets) if low <= o < high))
            if left:
                consumer.assign([TopicPartition(topic, partition, left[0])])
            where = f"{topic} at {bootstrap}"
            for message in _messages(consumer, [partition], where, timeout_s) if left else ():
                at, value = message.offset() or 0, message.value()
                while left and left[0] < at:  # compacted away, or never committed
                    left.popleft()
                if left and left[0] == at:
                    left.popleft()
                    if value is not None:
                        yield partition, at, value
                if not left:
                    break
                if left[0] - at > _SEEK_FROM:
                    consumer.seek(TopicPartition(topic, partition, left[0]))


def _messages(
    consumer: Consumer, partitions: Iterable[int], where: str, timeout_s: float
) -> Iterator[Message]:
    """Those of these partitions, which are assigned, until each of them has come to its end."""
    from confluent_kafka import KafkaError  # noqa: PLC0415

    left, quiet_until = set(partitions), time.monotonic() + timeout_s
    while left:
        message = consumer.poll(0.2)
        if message is None:
            if time.monotonic() > quiet_until:
                raise SourceError(f"the end of {where} was not reached: no answer")
            continue
        quiet_until = time.monotonic() + timeout_s
        error = message.error()
        if error is None:
            if message.partition() in left:
                yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            left.discard(message.partition())
        else:
            raise SourceError(f"{where} could not be read: {error.str()}")


def follow(
    bootstrap: str, topic: str, client: Mapping[str, str], timeout_s: float, *, from_beginning: bool
) -> Iterator[bytes]:
    """The values of the topic as they come, for ever; an outage is waited for. Raises `SourceError`."""
    from confluent_kafka import KafkaError  # noqa: PLC0415

    hopeless = (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    )
    with _consumer(bootstrap, topic, client, timeout_s, from_beginning=from_beginning) as (consumer, _):
        while True:
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                value = message.value()
                if value is not None:
                    yield value
            elif error.fatal() or error.code() in hopeless:
                raise SourceError(f"{topic} at {bootstrap} could not be read: {error.str()}")


@contextmanager
def _consumer(
    bootstrap: str, topic: str, client: Mapping[str, str], timeout_s: float, *, from_beginning: bool
) -> Iterator[tuple[Consumer, list[int]]]:
    from confluent_kafka import (  # noqa: PLC0415
        OFFSET_BEGINNING,
        OFFSET_END,
        Consumer,
        KafkaException,
        TopicPartition,
    )

    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "millrace-command",  # the client insists; partitions are assigned, nothing is committed
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "error_cb": lambda e: None,
        "logger": quiet,
        **client,
    }
    try:
        consumer = Consumer(settings)
    except (KafkaException, ValueError, TypeError) as e:
        raise SourceError(f"no Kafka client can be made for {bootstrap}: {_text(e)}") from e
    try:
        found = consumer.list_topics(topic, timeout_s).topics[topic]
        if found.error is not None:
            raise SourceError(f"{topic} at {bootstrap} cannot be read: {found.error.str()}")
        partitions = sorted(found.partitions)
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        consumer.assign([TopicPartition(topic, p, start) for p in partitions])
        yield consumer, partitions
    except KafkaException as e:
        raise SourceError(f"{topic} at {bootstrap} could not be read: {_text(e)}") from e
    finally:
        consumer.close()


def _text(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    return inner.str() if hasattr(inner, "str") else str(inner)
