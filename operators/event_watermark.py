"""The watermark that travels with blocks, as Flink's own."""

from __future__ import annotations

from pyflink.datastream import DataStream, KeyedStream
from pyflink.table import Schema, StreamTableEnvironment

from operators.feature_rows import EVENT_BLOCK
from operators.keyed_table import keyed_stream


def keyed_events(tables: StreamTableEnvironment, events: DataStream, name: str) -> KeyedStream:
    """Rows of EVENT_BLOCK by key, behind watermarks from their `watermark_ms`, all in the JVM.

    Rows without events have done their work then, and end here. A row's watermark follows the row.
    """
    schema = (
        Schema.new_builder()
        .column("key", "STRING")
        .column("value", "ROW<watermark_ms BIGINT, events BYTES>")
        .column_by_expression("progress", "TO_TIMESTAMP_LTZ(`value`.watermark_ms, 3)")
        .watermark("progress", "progress")
        .build()
    )
    view = f"events_{name}"
    tables.create_temporary_view(view, tables.from_data_stream(events, schema))
    rows = tables.sql_query(f"SELECT `key`, `value` FROM {view} WHERE `value`.events IS NOT NULL")
    return keyed_stream(tables, rows, EVENT_BLOCK, f"events-{name}")
