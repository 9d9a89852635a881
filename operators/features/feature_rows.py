"""How events and features look in Flink: the types, and the only code that knows positions.

Rows of two columns, a key and a value, are what `operators.flink_internals.keyed_by_first` wants: keyed
functions receive the value only. Batches travel as Arrow streams.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyflink.common import Row
from pyflink.common.typeinfo import Types
from pyflink.datastream.output_tag import OutputTag

from operators.event_watermark import TIMED_BATCH, timed_row
from operators.rows import BYTES
from schemas.features.feature_batch import FeatureBatch, from_bytes, to_bytes

EVENT_BATCH = TIMED_BATCH
"""Key: of the instance or part that computes. Events are the view's id, and an Arrow stream."""

_COMPLETE = b"\0"
"""No view and no events: all that was known of the references has been sent."""

FEATURE_BATCH = Types.ROW_NAMED(["view", "final", "rows"], [Types.STRING(), Types.BOOLEAN(), BYTES])

HISTORY_LINES = Types.ROW_NAMED(["view", "lines"], [Types.STRING(), BYTES])
HISTORY = OutputTag("history", HISTORY_LINES)


def events_tag(name: str) -> OutputTag:
    """The side output of a stream (see `udfs.features.events.references`): of events, of a view's rows as
    events of the views that read it, or of rows of references among them."""
    return OutputTag(f"events-{name}", EVENT_BATCH)


def progress_tag(source: str) -> OutputTag:
    """The side output of how far a source has been read: rows of watermarks."""
    return OutputTag(f"progress-{source}", EVENT_BATCH)


def event_row(key: str, view: str, watermark: int, events: pa.RecordBatch) -> Row:
    name = view.encode()
    return timed_row(key, watermark, b"%c%b%b" % (len(name), name, to_bytes(events)))


def complete_row(watermark: int) -> Row:
    return timed_row("", watermark, _COMPLETE)


def is_complete(value: Any) -> bool:
    """Of the value of an EVENT_BATCH."""
    return bool(value[1] == _COMPLETE)


def events_of(value: Any) -> tuple[str, pa.RecordBatch]:
    """The view's id, and its events."""
    data = memoryview(bytes(value[1]))
    end = 1 + data[0]
    return str(data[1:end], "utf-8"), from_bytes(data[end:])


def feature_row(batch: FeatureBatch) -> Row:
    return Row(batch.view, batch.final, to_bytes(batch.rows))


def features_of(row: Any) -> FeatureBatch:
    return FeatureBatch(row[0], bool(row[1]), from_bytes(bytes(row[2])))
