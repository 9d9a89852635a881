"""Outputs to Kafka topics."""

from __future__ import annotations

from pyflink.table import StatementSet, StreamTableEnvironment

from operators.kafka import Delivery, KafkaConnection
from operators.sinks.result_lines import COLUMNS
from operators.table_options import options


def add_kafka_sink(
    tables: StreamTableEnvironment,
    statements: StatementSet,
    view: str,
    *,
    connection: KafkaConnection,
    topic: str,
    delivery: Delivery,
) -> None:
    """Write a view of `operators.sinks.result_lines` to a topic, with key, headers and event time.

    Each sink has transactions of its own: the delivery's prefix and the topic name them.
    """
    own = Delivery(delivery.exactly_once, f"{delivery.prefix}-{topic}", delivery.timeout_ms)
    sink = connection.options() | own.options()
    sink |= {"topic": topic, "key.format": "raw", "key.fields": "message_key"}
    sink |= {"value.format": "raw", "value.fields-include": "EXCEPT_KEY"}
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE {view}_out (
            message BYTES,
            message_key BYTES,
            headers MAP<STRING, BYTES> METADATA,
            event_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp'
        ) WITH ({options(sink)})""")
    statements.add_insert_sql(f"INSERT INTO {view}_out SELECT {COLUMNS} FROM {view}")
