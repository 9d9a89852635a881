"""Batches of events and of feature rows between operators: one Arrow stream (IPC), many rows.

Columns have no layout of their own beyond these types; times are int64 epoch milliseconds, since nested
timestamps reach Python as Java objects. To write and read a batch of 300 rows takes about 0.1 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from schemas.features.declarations import FeatureType

ARROW: Mapping[FeatureType, pa.DataType] = {
    FeatureType.INT64: pa.int64(),
    FeatureType.FLOAT64: pa.float64(),
    FeatureType.BOOL: pa.bool_(),
    FeatureType.STRING: pa.string(),
    FeatureType.TIMESTAMP: pa.int64(),
    FeatureType.INT64_LIST: pa.list_(pa.int64()),
    FeatureType.FLOAT64_LIST: pa.list_(pa.float64()),
    FeatureType.STRING_LIST: pa.list_(pa.string()),
}

EVENT_TIME, EVENT_ID, PRODUCED = "__event_time", "__event_id", "__produced"
"""Columns beside the source's own: int64; string (the event id, or TOPIC/PARTITION/OFFSET); int64, when the
record was written to its topic, for measuring freshness."""

TIMESTAMP, CREATED = "event_timestamp", "created"
"""Columns of a feature row beside entity and features: int64. `created`: when the row was computed."""

_REFERENCE = b"reference"


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """Rows of one view: its entity columns, its features in order, `event_timestamp`, `created`.

    `final`: the watermark has passed these rows, they will not change, and history takes them. Provisional
    rows are for the online store only, at most one an entity, the newest.
    """

    view: str
    final: bool
    rows: pa.RecordBatch


def marked_reference(rows: pa.RecordBatch, reference: str) -> pa.RecordBatch:
    """Rows of a reference, which travel among the events: marked as such, also as bytes."""
    return rows.replace_schema_metadata({_REFERENCE: reference.encode()})


def reference_of(rows: pa.RecordBatch) -> str:
    """The reference whose rows these are; empty for events."""
    return (rows.schema.metadata or {}).get(_REFERENCE, b"").decode()


def to_bytes(batch: pa.RecordBatch) -> bytes:
    """An Arrow stream of one batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def from_bytes(data: bytes | memoryview) -> pa.RecordBatch:
    """The inverse. Raises `ValueError` where `data` is not one batch."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        batches = list(reader)
    if len(batches) != 1:
        raise ValueError(f"an Arrow stream of {len(batches)} batches came where one belongs")
    return batches[0]
