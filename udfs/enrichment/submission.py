"""What a client submits: a prediction request without what the endpoint adds."""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any

import msgspec

from schemas.names import LONGEST_NAME
from udfs.enrichment.base import LONGEST_MS, EntityValue, ModelName, PredictionRequest, Whole
from udfs.enrichment.wire import check_fields


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /predict`; `id` is made where it is empty. See `PredictionRequest`."""

    model: ModelName
    entities: dict[str, EntityValue]
    id: Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)] = ""
    version: Whole = 0
    expires_ms: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_MS)] = 1000
    fields: dict[str, Any] = {}


LONGEST = 500_000
"""Bytes of a body: completed, it is a message that Kafka must take."""

_read = msgspec.json.Decoder(Submission).decode


def read_submission(data: bytes) -> PredictionRequest:
    """Raises `ValueError`, which says what is wrong."""
    if len(data) > LONGEST:
        raise ValueError(f"not a prediction request: {len(data)} bytes, and {LONGEST} are the most")
    try:
        body = _read(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MemoryError) as e:
        raise ValueError(f"not a prediction request: {e}") from None
    check_fields(body.fields)
    return PredictionRequest(
        id=body.id or uuid.uuid4().hex,
        model=body.model,
        entities=body.entities,
        version=body.version,
        created=time.time_ns() // 1_000_000,
        expires_ms=body.expires_ms,
        fields=body.fields,
    )
