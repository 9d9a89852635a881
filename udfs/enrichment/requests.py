"""Micro-batches of raw records as prediction requests."""

from __future__ import annotations

from schemas.micro_batch import MicroBatch
from schemas.results.dead_letter import dead_letter
from schemas.results.records import DeadLetter
from schemas.tensors import BadRecord
from udfs.enrichment.base import PredictionRequest
from udfs.enrichment.wire import read_request

NOT_A_REQUEST = "request"


def requests_of(batch: MicroBatch) -> tuple[dict[str, PredictionRequest], list[DeadLetter]]:
    """`SOURCE/PARTITION/OFFSET` -> request, and a dead letter for each record that is none.

    Without the source the first lines of two files would be one request.
    """
    requests, letters = {}, []
    places = zip(batch.payloads, batch.partitions, batch.offsets, batch.event_times, strict=True)
    for row, (payload, partition, offset, written) in enumerate(places):
        try:
            requests[f"{batch.source}/{partition}/{offset}"] = read_request(payload, written or 0)
        except ValueError as e:
            letters.append(dead_letter(batch, BadRecord(row, NOT_A_REQUEST, str(e))))
    return requests, letters
