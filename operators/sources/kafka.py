"""Kafka topics by Flink's own source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from operators.flink_internals import own_class
from operators.kafka import KafkaConnection
from operators.kafka_check import topic_ids
from operators.sources.gathering import java_map

_TUNING = {
    # What an open or aborted transaction wrote is not there.
    "isolation.level": "read_committed",
    # A broker that answers at each record keeps itself and the reader busy: it may gather them for a moment.
    "fetch.min.bytes": "65536",
    "fetch.max.wait.ms": "2",
    "max.partition.fetch.bytes": str(4 << 20),
    "max.poll.records": "4096",
    # New partitions are found within this time.
    "partition.discovery.interval.ms": "60000",
    "commit.offsets.on.checkpoint": "true",
}
_SELDOM = {
    # Two hundred empty answers a second cost reader and broker 4 % of a processor.
    "fetch.min.bytes": "1",
    "fetch.max.wait.ms": "500",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """Where to begin and end. `start`: earliest, latest or committed; `bounded`: stop at today's end.
    `seldom`: records are so rare that the broker need not gather them.

    Offsets are committed to `group` at checkpoints. A savepoint's own positions win over `start` where they
    are of the same topic, which the broker is asked if `identified`: a job whose topic was deleted and made
    anew since fails, or with `anew` reads all of it.
    """

    group: str
    start: str = "earliest"
    bounded: bool = False
    seldom: bool = False
    identified: bool = True
    anew: bool = False


def kafka_records(
    env: StreamExecutionEnvironment,
    connection: KafkaConnection,
    topics: Sequence[str],
    reading: Reading,
    *,
    name: str,
    parallelism: int | None = None,
) -> Any:
    """A Java stream of `ConsumerRecord`, for `operators.sources.gathering.micro_batches`.

    `name` is of the source, and its uid.
    """
    java = get_gateway().jvm
    offsets = java.org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer
    reset = java.org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.OffsetResetStrategy
    begin = {
        "earliest": offsets.earliest,
        "latest": offsets.latest,
        "committed": lambda: offsets.committedOffsets(reset.EARLIEST),
    }[reading.start]()
    properties = java.java.util.Properties()
    tuning = _TUNING | (_SELDOM if reading.seldom else {})
    properties.putAll(java_map(tuning | connection.java_client()))
    names = java.java.util.ArrayList()
    for topic in topics:
        names.add(topic)
    source = (
        java.org.apache.flink.connector.kafka.source.KafkaSource.builder()
        .setBootstrapServers(connection.bootstrap)
        .setTopics(names)
        .setGroupId(reading.group)
        .setClientIdPrefix(f"{reading.group}-{name}")
        .setProperties(properties)
        .setStartingOffsets(begin)
        .setDeserializer(own_class("RawRecords")())
    )
    if reading.bounded:
        source = source.setBounded(offsets.latest())
    ids = topic_ids(connection, topics) if reading.identified else {}
    known = own_class("KnownTopics").of(source.build(), java_map(ids), reading.anew)
    return from_source(env, known, name, parallelism)


def from_source(env: StreamExecutionEnvironment, source: Any, name: str, parallelism: int | None) -> Any:
    """The Java stream of a Java source."""
    java = get_gateway().jvm
    none = java.org.apache.flink.api.common.eventtime.WatermarkStrategy.noWatermarks()
    stream = env._j_stream_execution_environment.fromSource(source, none, name).uid(name)
    return stream if parallelism is None else stream.setParallelism(parallelism)
