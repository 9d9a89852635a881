"""Requests, completions and expirations as JSON, and created values as feature rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import orjson
import pyarrow as pa

from schemas.features.feature_batch import ARROW, CREATED, TIMESTAMP, FeatureBatch
from udfs.enrichment.base import Completed, Created, Expired, PredictionRequest
from udfs.stores.online.base import StoredView

LONGEST = 900_000
"""Bytes of a request as it is written again: what comes of it is a message that Kafka must take."""

_read = msgspec.json.Decoder(PredictionRequest).decode


def read_request(data: bytes, written: int) -> PredictionRequest:
    """`written`: epoch milliseconds, the time of the record, for a request that does not say its own.

    Raises `ValueError`, which says what is wrong.
    """
    request = kept_request(data)
    check_fields(request.fields)
    if len(data) > LONGEST // 6 and (size := len(write_request(request))) > LONGEST:
        raise ValueError(f"not a prediction request: {size:,} bytes, and {LONGEST:,} are the most")
    return request if request.created else msgspec.structs.replace(request, created=written)


def kept_request(data: bytes) -> PredictionRequest:
    """What `write_request` wrote: whatever has been taken once, bounds are none of its business.

    Raises `ValueError` for bytes that are none.
    """
    try:
        return _read(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ValueError(f"not a prediction request: {e}") from None


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raises `ValueError` for fields that no record can hold."""
    try:
        orjson.dumps(fields)
    except TypeError as e:  # an integer beyond 64 bits, or lists in lists
        raise ValueError(f"not a prediction request: its fields cannot be a record: {e}") from None


def write_request(request: PredictionRequest) -> bytes:
    return msgspec.json.encode(request)


def write_completed(completed: Completed) -> bytes:
    """The scoring input: `features` holds the stamps. Numbers that JSON does not have (NaN) become null."""
    stamps = [msgspec.structs.asdict(stamp) for stamp in completed.stamps]
    return orjson.dumps({**completed.record, "features": stamps})


def write_expired(expired: Expired) -> bytes:
    return msgspec.json.encode(expired)


def feature_batches(created: Iterable[Created]) -> list[FeatureBatch]:
    """Created values as final rows, a batch a view, for the online store and for history."""
    rows: dict[str, tuple[StoredView, list[dict[str, Any]]]] = {}
    for one in created:
        keys = zip((name for name, _ in one.view.entity), one.entity, strict=True)
        row = {**dict(keys), **one.values, TIMESTAMP: one.event_time, CREATED: one.event_time}
        rows.setdefault(one.view.id, (one.view, []))[1].append(row)
    return [
        FeatureBatch(view.id, True, pa.RecordBatch.from_pylist(of, schema=_schema(view)))
        for view, of in rows.values()
    ]


def _schema(view: StoredView) -> pa.Schema:
    columns = [(name, ARROW[kind]) for name, kind in (*view.entity, *view.features)]
    return pa.schema([*columns, (TIMESTAMP, pa.int64()), (CREATED, pa.int64())])
