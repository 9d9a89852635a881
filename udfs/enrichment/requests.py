"""Blocks of raw records as prediction requests."""

from __future__ import annotations

import base64

from schemas.micro_batch import MicroBatch
from schemas.results.records import RAW_LIMIT, DeadLetter
from udfs.enrichment.base import PredictionRequest
from udfs.enrichment.wire import read_request


def requests_of(block: MicroBatch) -> tuple[dict[str, PredictionRequest], list[DeadLetter]]:
    """`PARTITION/OFFSET` -> request, and a dead letter for each record that is none."""
    requests, letters = {}, []
    places = zip(block.payloads, block.partitions, block.offsets, block.event_times, strict=True)
    for payload, partition, offset, written in places:
        try:
            requests[f"{partition}/{offset}"] = read_request(payload, written)
        except ValueError as e:
            raw = base64.b64encode(payload[:RAW_LIMIT]).decode()
            letters.append(
                DeadLetter(
                    data_type=block.data_type,
                    source=block.source,
                    partition=partition,
                    offset=offset,
                    event_time=written,
                    code="request",
                    reason=str(e),
                    raw=raw,
                    size=len(payload),
                )
            )
    return requests, letters
