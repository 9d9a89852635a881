"""The watermark that travels with blocks, as Flink's own, and the rows that it travels in."""

from __future__ import annotations

from pyflink.common import Row
from pyflink.common.typeinfo import Types
from pyflink.datastream import DataStream
from pyflink.table import Schema, StreamTableEnvironment, Table

from operators.rows import BYTES

_EVENTS = Types.ROW_NAMED(["watermark_ms", "events"], [Types.LONG(), BYTES])
TIMED_BLOCK = Types.ROW_NAMED(["key", "value"], [Types.STRING(), _EVENTS])
"""A key and a block of something. `events` is null in rows that only say how far a source has been read."""

_IDLE = "table.exec.source.idle-timeout"


def timed_row(key: str, watermark: int, events: bytes) -> Row:
    """`watermark`: what was told before these events, epoch milliseconds."""
    return Row(key, Row(watermark, events))


def watermark_row(watermark: int, key: str = "") -> Row:
    return Row(key, Row(watermark, None))


def _stream_of(tables: StreamTableEnvironment, table: Table, uid: str) -> DataStream:
    """The rows of `table`; the step between the two worlds gets `uid`, which PyFlink offers no way to set."""
    stream = tables.to_append_stream(table, TIMED_BLOCK)
    stream._j_data_stream.getTransformation().setUid(uid)
    return stream


def timed_events(
    tables: StreamTableEnvironment, events: DataStream, name: str, always: bool = False
) -> DataStream:
    """Rows of TIMED_BLOCK behind watermarks from their `watermark_ms`, all in the JVM.

    Rows without events have done their work then, and end here. A row's watermark follows the row. `always`:
    the stream holds others back however long it is silent.
    """
    schema = (
        Schema.new_builder()
        .column("key", "STRING")
        .column("value", "ROW<watermark_ms BIGINT, events BYTES>")
        .column_by_expression("progress", "TO_TIMESTAMP_LTZ(`value`.watermark_ms, 3)")
        .watermark("progress", "progress")
        .build()
    )
    view, config = f"`events_{name}`", tables.get_config()
    tables.create_temporary_view(view, tables.from_data_stream(events, schema))
    rows = tables.sql_query(f"SELECT `key`, `value` FROM {view} WHERE `value`.events IS NOT NULL")
    usual = config.get(_IDLE, "0 ms")
    config.set(_IDLE, "0 ms" if always else usual)
    try:
        return _stream_of(tables, rows, f"events-{name}")
    finally:
        config.set(_IDLE, usual)
