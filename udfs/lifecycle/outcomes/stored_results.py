"""Rows of the prediction store as the results that they were, for whatever reads results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from schemas.features.feature_batch import CREATED, TIMESTAMP
from udfs.io.s3 import S3Options
from udfs.lifecycle.outcomes.rows import MODEL, OWN
from udfs.lifecycle.outcomes.stored import stored_rows

OUTCOME = "outcome"
"""The field of the record that holds what came of it."""
_IDENTITY = ("source", "partition", "offset")
_TAKEN = ("version", "digest", "ms", "rule", "plan", "plan_version", *_IDENTITY)
_LONG_MS = 1 << 40


def stored_results(location: str, s3: S3Options) -> Iterator[bytes]:
    """Each prediction once; its record is the fields that are stored, and OUTCOME as it was said last, which
    is absent where nothing came.

    A deadline is not stored: that an answer came in time is. Raises `StoreError` as `stored_rows`.
    """
    corrected: dict[tuple[Any, ...], int] = {}
    for _, _, batch in stored_rows(location, s3, [*_IDENTITY, "revision"]):
        for *place, revision in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if revision > 1:
                corrected[*place] = max(revision, corrected.get((*place,), 0))
    data_type = location.rstrip("/").rpartition("/")[2]
    needed = [name for name in (*OWN, TIMESTAMP) if name != MODEL]
    for _, model, batch in stored_rows(location, s3, needed, others=True):
        times = batch.column(TIMESTAMP).cast(pa.timestamp("ms")).cast(pa.int64()).to_pylist()
        for row, time in zip(batch.to_pylist(), times, strict=True):
            if row["revision"] == corrected.get(tuple(row[name] for name in _IDENTITY), 1):
                yield _result(row, {"data_type": data_type, "model": model, "event_time": time})


def _result(row: dict[str, Any], stamp: dict[str, Any]) -> bytes:
    record = {name: value for name, value in row.items() if name not in {*OWN, TIMESTAMP, CREATED}}
    if row["outcome_json"] is not None:
        record[OUTCOME] = orjson.loads(row["outcome_json"])
    stamp |= {name: row[name] for name in _TAKEN} | {"outcome": row["scoring"], "deadline_ms": _LONG_MS}
    stamp |= {name: orjson.loads(row[name] or "{}") for name in ("scores", "experiments")}
    if row["answers"]:
        stamp["answers"] = orjson.loads(row["answers"])
    return orjson.dumps({**record, "millrace": stamp})
