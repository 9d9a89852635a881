"""The model stream from Kafka."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import StreamTableEnvironment

from operators.block_row import DESCRIPTOR
from operators.kafka import KafkaConnection, Reading
from operators.keyed_table import stream_of
from operators.table_options import options


def kafka_models(
    tables: StreamTableEnvironment, connection: KafkaConnection, topic: str, reading: Reading
) -> DataStream:
    """Rows of DESCRIPTOR, from the topic's beginning: what is served is what was announced last."""
    source = connection.options() | reading.options() | {"topic": topic, "format": "raw"}
    tables.execute_sql(f"CREATE TEMPORARY TABLE models_in (descriptor BYTES) WITH ({options(source)})")
    found = tables.sql_query("SELECT descriptor FROM models_in WHERE descriptor IS NOT NULL")
    return stream_of(tables, found, DESCRIPTOR, "descriptors")
