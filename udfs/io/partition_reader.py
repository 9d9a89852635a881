"""Partitions of Kafka topics as blocks, read by librdkafka with positions that the caller keeps.

A record that Flink's own source reads is made into a row, serialised, gathered in a window and joined with
its neighbours before it reaches Python. Read here, a block is what the broker has sent meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, repeat
from operator import methodcaller

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.block import PARTITIONS, Block
from schemas.errors import SourceError
from udfs.io.kafka_client import reader_properties

Positions = dict[tuple[str, int], int]
"""(topic, partition) -> offset of the next record."""

_TUNING = {
    # a reader has half of this much in memory, more or less; the default of 64 MB is for one a process
    "queued.max.messages.kbytes": "32768",
    "queued.min.messages": "200000",
    # with the default of a second, a reader that is faster than its queue is long pauses again and again
    "fetch.queue.backoff.ms": "5",
    # a broker that answers at each record is kept busy by a stream of few: it may gather them for 10 ms,
    # which at rest makes a hundred requests a second
    "fetch.min.bytes": "65536",
    "fetch.wait.max.ms": "10",
    "fetch.message.max.bytes": str(4 << 20),
}
_HOPELESS = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
    }
)
_log = logging.getLogger("millrace.kafka")


@dataclass(frozen=True, slots=True)
class TopicReading:
    """`topics`: topic -> data type of its records. `start`: earliest, latest or committed, for partitions
    without a position. `lanes`: a reader of a lane reads the partitions p with p % lanes == lane; 0: all.
    `discover_s`: how often to look for new partitions. `commit_lag_s`: see `PartitionReader.commit`.
    """

    bootstrap: str
    topics: Mapping[str, str]
    group: str
    start: str = "earliest"
    client: Mapping[str, str] = field(default_factory=dict)
    lanes: int = 0
    timeout_s: float = 10.0
    discover_s: float = 300.0
    commit_lag_s: float = 60.0


class PartitionReader:
    """Reads the topics of one data type, or one lane of them, from one thread.

    `known`: its positions when it ended; None where it never began, and only then does `start` count.
    Raises `SourceError` where the broker refuses or a topic is gone, and where it cannot begin; a later
    outage is waited for. `now`: seconds of a steady clock.
    """

    def __init__(
        self,
        reading: TopicReading,
        data_type: str,
        lane: int,
        known: Positions | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reading, self._data_type, self._lane, self._now = reading, data_type, lane, now
        self._topics = [topic for topic, of in reading.topics.items() if of == data_type]
        self.positions: Positions = {}
        self._earlier: list[tuple[float, Positions]] = []
        self._committed: Positions = {}
        settings = {
            **_TUNING,
            "bootstrap.servers": reading.bootstrap,
            "group.id": reading.group,
            "auto.offset.reset": "earliest",  # where what was to be read is deleted: the least is lost
            **reader_properties(reading.client),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
        try:
            self._consumer = Consumer(settings, logger=_log)
        except (KafkaException, ValueError, TypeError) as e:
            raise _refused(f"no Kafka client can be made for {reading.bootstrap}", e) from None
        try:
            self._assign(known)
        except BaseException:
            self._consumer.close()
            raise

    def read(self, most: int) -> list[Block]:
        """What has come, at most `most` records, without waiting; each block is of one topic."""
        messages: Sequence[Message] = self._consumer.consume(most, 0)
        if not messages:
            return []
        if any(map(_error, messages)):
            messages = self._without_errors(messages)
        if len(self._topics) == 1:
            return [self._block(self._topics[0], messages)] if messages else []
        ordered = sorted(messages, key=_topic)  # stable: the order within a partition stays
        return [self._block(topic, list(of)) for topic, of in groupby(ordered, _topic)]

    def discover(self) -> None:
        """Look for new partitions, where that is due; they are read from their beginning."""
        if self._now() < self._look_at:
            return
        try:
            self._assign(dict(self.positions))
        except SourceError as e:  # an outage is waited for; what is being read says so if it lasts
            _log.warning("no look for new partitions: %s", e)

    def commit(self) -> None:
        """Tell the group how far it is, for who watches its lag and for a start without a savepoint.

        What is committed was read `commit_lag_s` ago: records that no checkpoint covers yet must not
        count as read, and nobody tells Python of checkpoints.
        """
        now = self._now()
        if not self._earlier or now - self._earlier[-1][0] >= self._reading.commit_lag_s / 10:
            self._earlier.append((now, dict(self.positions)))
        old = [at for at, _ in self._earlier if now - at >= self._reading.commit_lag_s]
        if not old:
            return
        positions = self._earlier[len(old) - 1][1]
        del self._earlier[: len(old)]
        moved = {place: at for place, at in positions.items() if self._committed.get(place) != at}
        if moved:
            self._committed |= moved
            self._consumer.commit(
                offsets=[TopicPartition(*p, at) for p, at in moved.items()], asynchronous=True
            )

    def close(self) -> None:
        self._consumer.close()

    def _assign(self, known: Positions | None) -> None:
        """Read on from the known positions; partitions that are new since then from their beginning."""
        self._look_at = self._now() + self._reading.discover_s
        try:
            there = {place for topic in self._topics for place in self._partitions(topic)}
            starts = self._starts(there) if known is None else dict.fromkeys(there - known.keys(), 0)
            if not starts and self.positions:
                return
            self.positions = {**(known or {}), **starts}
            places = [TopicPartition(*place, at) for place, at in self.positions.items()]
            self._consumer.assign(places)
        except KafkaException as e:
            topics = ", ".join(self._topics)
            raise _refused(f"{topics} at {self._reading.bootstrap} cannot be read", e) from None

    def _partitions(self, topic: str) -> Iterator[tuple[str, int]]:
        found = self._consumer.list_topics(topic, self._reading.timeout_s).topics[topic]
        if found.error is not None:
            raise SourceError(f"{topic} at {self._reading.bootstrap} cannot be read: {found.error.str()}")
        lanes = self._reading.lanes
        for partition in found.partitions:
            if partition >= PARTITIONS:
                raise SourceError(f"{topic} has partition {partition}; fewer than {PARTITIONS} can be read")
            if not lanes or partition % lanes == self._lane:
                yield topic, partition

    def _starts(self, places: set[tuple[str, int]]) -> Positions:
        start, timeout = self._reading.start, self._reading.timeout_s
        committed: Positions = {}
        if start == "committed" and places:
            found = self._consumer.committed([TopicPartition(*place) for place in places], timeout)
            committed = {(p.topic, p.partition): p.offset for p in found if p.offset >= 0}
        starts: Positions = {}
        for place in places:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout)
            starts[place] = high if start == "latest" else committed.get(place, low)
        return starts

    def _block(self, topic: str, messages: Sequence[Message]) -> Block:
        payloads = list(map(_value, messages))
        if None in payloads:  # a deletion; it will be a dead letter
            payloads = [payload or b"" for payload in payloads]
        partitions, offsets = list(map(_partition, messages)), list(map(_offset, messages))
        self.positions |= dict(zip(zip(repeat(topic), partitions), [o + 1 for o in offsets], strict=False))
        keys, headers = list(map(_key, messages)), list(map(_headers, messages))
        return Block(
            self._data_type,
            topic,
            payloads,
            partitions,
            offsets,
            [at for _, at in map(_timestamp, messages)],
            keys if any(key is not None for key in keys) else None,
            [{n: v or b"" for n, v in h} if h else None for h in headers] if any(headers) else None,
        )

    def _without_errors(self, messages: Sequence[Message]) -> list[Message]:
        for error in filter(None, map(_error, messages)):
            if error.fatal() or error.code() in _HOPELESS:
                topics = ", ".join(self._topics)
                raise SourceError(f"{topics} at {self._reading.bootstrap} cannot be read: {error.str()}")
            _log.warning("%s: %s", self._reading.bootstrap, error.str())
        return [message for message in messages if message.error() is None]


def _refused(what: str, error: Exception) -> SourceError:
    inner = error.args[0] if error.args else error
    text = inner.str() if isinstance(inner, KafkaError) else str(inner)
    return SourceError(f"{what}: {text}; see kafka.bootstrap and kafka.client, or set kafka.reader to flink")


_value, _key, _headers, _error = (methodcaller(name) for name in ("value", "key", "headers", "error"))
_topic, _partition, _offset, _timestamp = (
    methodcaller(name) for name in ("topic", "partition", "offset", "timestamp")
)
