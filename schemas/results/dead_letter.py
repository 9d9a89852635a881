"""A record of a block that cannot be used, as a dead letter."""

from __future__ import annotations

import base64

from schemas.block import Block
from schemas.results.records import RAW_LIMIT, DeadLetter
from schemas.tensors import BadRecord


def dead_letter(block: Block, bad: BadRecord) -> DeadLetter:
    """The record at `bad.row` of the block: what identifies it, and its first `RAW_LIMIT` bytes."""
    row = bad.row
    key = block.keys[row] if block.keys else None
    headers = (block.headers[row] if block.headers else None) or {}
    return DeadLetter(
        data_type=block.data_type,
        source=block.source,
        partition=block.partitions[row],
        offset=block.offsets[row],
        event_time=block.event_times[row],
        code=bad.code,
        reason=bad.reason,
        raw=_base64(block.payloads[row][:RAW_LIMIT]),
        size=len(block.payloads[row]),
        key=None if key is None else _base64(key),
        headers={name: _base64(value) for name, value in headers.items()},
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
