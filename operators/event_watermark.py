"""The watermark that travels with events, as Flink's own, and the rows that it travels in."""

from __future__ import annotations

from typing import Any

from pyflink.common import Row
from pyflink.common.typeinfo import Types
from pyflink.datastream import DataStream

from operators.flink_internals import own_class
from operators.rows import BYTES

_EVENTS = Types.ROW_NAMED(["watermark_ms", "events"], [Types.LONG(), BYTES])
TIMED_BATCH = Types.ROW_NAMED(["key", "value"], [Types.STRING(), _EVENTS])
"""A key and a batch of events or of sums. `events` is null in rows that only say how far a source has been
read, and empty in marks, which come before a checkpoint. `operators/jvm/millrace/EventWatermarks.java` reads
these positions."""

IDLE = 2**63 - 1
"""The watermark of a row, without events, of an instance that holds nobody back until its next row."""
START_MS = 60_000
"""For so long an instance that has read nothing since its start is waited for."""


def timed_row(key: str, watermark: int, events: bytes) -> Row:
    """`watermark`: what was told before these events, epoch milliseconds."""
    return Row(key, Row(watermark, events))


def watermark_row(watermark: int, key: str = "") -> Row:
    return Row(key, Row(watermark, None))


def mark_row(watermark: int, key: str = "") -> Row:
    return Row(key, Row(watermark, b""))


def is_mark(value: Any) -> bool:
    """Of the value of a TIMED_BATCH."""
    return value[1] is not None and not len(value[1])


def timed_events(events: DataStream, name: str, always: bool = False) -> DataStream:
    """Rows of TIMED_BATCH behind watermarks from their `watermark_ms`, all in the JVM.

    Rows without events have done their work then, and end here; marks go through. A row's watermark follows
    the row. An instance that says so (IDLE) holds nobody back. With `always` it does, however long it is
    silent. Finite input wants that: there one without partitions ends, and were the others then held to be
    idle, all that they send later would come after the end.
    """
    watermarks = own_class("EventWatermarks")(not always)
    stream = events._j_data_stream
    parallelism = stream.getParallelism()
    stream = stream.assignTimestampsAndWatermarks(watermarks).setParallelism(parallelism)
    stream = stream.name(f"watermarks of {name}").uid(f"events-{name}")
    stream = stream.filter(watermarks).setParallelism(parallelism)
    stream = stream.name(f"events of {name}").uid(f"rows-{name}")
    stream.setBufferTimeout(0)
    return DataStream(stream)
