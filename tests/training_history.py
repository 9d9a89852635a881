"""History as it lies in Parquet, read file by file into one shape: schemas of files differ over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pyarrow as pa

from schemas.errors import FeatureError
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import ARROW, CREATED, TIMESTAMP
from udfs.io.s3 import S3Options
from udfs.stores.history.files import file_system, find_files, read_batches
from udfs.stores.online.base import StoredView

ORDINAL = "__ordinal"
"""int64, the row's place in the files as they were read: of rows that are equal in time the later counts."""


def read_history(
    view: StoredView, features: Sequence[str], where: str, *, since: int, until: int, s3: S3Options
) -> pa.RecordBatchReader:
    """Entity columns, `features`, `event_timestamp`, `created` (epoch milliseconds) and ORDINAL, read lazily.

    `where`: see `udfs.stores.history.files.find_files`. Partitions `dt=DAY` that hold nothing between `since`
    and `until` (epoch milliseconds) are passed over. A feature that a file does not have is null in its rows.
    Raises `FeatureError` where there is no file, `StoreError`, also while reading, for a file that does not
    fit the view.
    """
    files = find_files(where, s3)
    if not files:
        raise FeatureError(f"there is no history of {view.id} at {where}")
    kinds = dict(view.features)
    types = dict(view.entity) | {name: kinds[name] for name in features}
    types |= {TIMESTAMP: FeatureType.TIMESTAMP, CREATED: FeatureType.TIMESTAMP}
    system, _ = file_system(where, s3)
    days = _day(since), _day(until)
    batches = (
        batch
        for file in files
        if days[0] <= (_partition(file) or days[0]) <= days[1]
        for batch in read_batches(system, file, types, nullable=features)
    )
    schema = pa.schema([*((name, ARROW[kind]) for name, kind in types.items()), (ORDINAL, pa.int64())])
    return pa.RecordBatchReader.from_batches(schema, _numbered(batches, schema))


def _numbered(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows = 0
    for batch in batches:
        until = rows + batch.num_rows
        yield pa.record_batch([*batch.columns, pa.array(range(rows, until), pa.int64())], schema=schema)
        rows = until


def _partition(path: str) -> str:
    """The day that a file's folder says, or an empty text."""
    days = (step[3:] for step in PurePosixPath(path).parts if step.startswith("dt="))
    return next(days, "")


def _day(ms: int) -> str:
    last = 253_402_300_799  # 9999-12-31
    return datetime.fromtimestamp(max(0, min(ms // 1000, last)), UTC).strftime("%Y-%m-%d")
