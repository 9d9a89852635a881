"""A record of a micro-batch as the dead letter that says why it could not be used."""

from __future__ import annotations

import base64

from schemas.codecs.base import Code
from schemas.micro_batch import MicroBatch
from schemas.results.records import NAME_LIMIT, RAW_LIMIT, DeadLetter
from schemas.tensors import BadRecord


def dead_letter(batch: MicroBatch, bad: BadRecord) -> DeadLetter:
    """The dead letter of `bad.row`; one without payload says so, whatever was made of its emptiness."""
    row = bad.row
    key = batch.keys[row] if batch.keys else None
    headers = batch.headers[row] if batch.headers else ()
    deleted = row in batch.null_payloads
    size = 0 if deleted else len(batch.payloads[row])
    return DeadLetter(
        data_type=batch.data_type,
        source=batch.source,
        partition=batch.partitions[row],
        offset=batch.offsets[row],
        event_time=batch.event_times[row],
        code=Code.DELETED.value if deleted else bad.code,
        reason="the record has no payload: it deletes its key" if deleted else bad.reason[:NAME_LIMIT],
        raw=None if deleted else _base64(batch.payloads[row][:RAW_LIMIT]),
        size=size,
        key=None if key is None else _base64(key),
        headers=[(name, None if value is None else _base64(value)) for name, value in headers],
        cut=["raw"] if size > RAW_LIMIT else [],
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
