"""Outputs to Kafka topics."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.java_gateway import get_gateway

from operators.flink_internals import own_class
from operators.kafka import KafkaConnection
from operators.sources.gathering import java_map
from udfs.io.delivery import Delivery

_BATCHING = {
    # An output batch reaches the producer in one go: what it cannot send at once it gathers.
    "linger.ms": "1",
    # With the producer's own size of 16 kB the sink alone costs a third of the throughput.
    "batch.size": "262144",
}


def add_kafka_sink(
    outputs: DataStream, connection: KafkaConnection, topic: str, delivery: Delivery, name: str
) -> None:
    """Write a stream of OUTPUT to a topic, with key, headers and event time.

    Each sink has transactions of its own: the delivery's prefix and the topic name them. `name`: of the
    output, and its uid.
    """
    java = get_gateway().jvm
    guarantee = java.org.apache.flink.connector.base.DeliveryGuarantee
    properties = java.java.util.Properties()
    properties.putAll(java_map(_BATCHING | connection.java_client()))
    sink = (
        java.org.apache.flink.connector.kafka.sink.KafkaSink.builder()
        .setBootstrapServers(connection.bootstrap)
        .setRecordSerializer(own_class("ToKafka")())
    )
    if delivery.exactly_once:
        properties.setProperty("transaction.timeout.ms", str(delivery.timeout_ms))
        sink = sink.setDeliveryGuarantee(guarantee.EXACTLY_ONCE)
        sink = sink.setTransactionalIdPrefix(f"{delivery.prefix}-{topic}")
    else:
        sink = sink.setDeliveryGuarantee(guarantee.AT_LEAST_ONCE)
    add_sink(outputs, sink.setKafkaProducerConfig(properties).build(), topic, name)


def add_sink(outputs: DataStream, sink: object, of: str, name: str) -> None:
    """Take output batches apart and give the messages to a Java sink. `of`: its topic or folder."""
    messages = outputs._j_data_stream.flatMap(own_class("Outputs")(of))
    messages = messages.name(f"take {name} apart").uid(f"messages-{name}")
    messages.sinkTo(sink).name(name).uid(f"sink-{name}")
