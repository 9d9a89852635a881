"""Events that a view's engine did not take, as dead letters."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import orjson
import pyarrow as pa

from schemas.features.declarations import FeatureView
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME, reference_of
from schemas.results.records import RAW_LIMIT, DeadLetter
from udfs.features.base import Refused

REASONS = {
    "late": "the watermark had passed its time when it came",
    "duplicate": "another event has the same id and time",
    "late_reference": "events at or after its time were final when it came; it counts from now on",
}


def refused_letters(
    view: FeatureView, refused: Sequence[Refused], events: pa.RecordBatch, placed: bool
) -> Iterator[DeadLetter]:
    """One for each; `events`: the batch that they came in. The raw bytes are the event's columns as JSON.

    `placed`: event ids are SOURCE/PARTITION/OFFSET, as those of a reference's rows always are.
    """
    reference = reference_of(events)
    placed, what = (
        placed or bool(reference),
        f"row {{!r}} of reference {reference}" if reference else "event {!r}",
    )
    if not refused:
        return
    ids, times = events.column(EVENT_ID).to_pylist(), events.column(EVENT_TIME).to_pylist()
    rows = {key: row for row, key in enumerate(zip(ids, times, strict=True))}
    for one in refused:
        row = rows.get((one.event_id, one.event_time))
        raw = b"" if row is None else orjson.dumps(events.slice(row, 1).to_pylist()[0])
        source, partition, offset = one.event_id.rsplit("/", 2) if placed else (view.source, -1, -1)
        yield DeadLetter(
            data_type=view.id,
            source=source,
            partition=int(partition),
            offset=int(offset),
            event_time=one.event_time,
            code=one.code,
            reason=f"view {view.id}: {what.format(one.event_id)}: {_why(one, view)}",
            raw=base64.b64encode(raw[:RAW_LIMIT]).decode(),
            size=len(raw),
            columns=True,
        )


def _why(one: Refused, view: FeatureView) -> str:
    return one.reason.removeprefix(f"view {view.id}: ") or REASONS.get(one.code, one.code)


def refused_rows(events: pa.RecordBatch, refused: Sequence[tuple[int, str, str]]) -> list[Refused]:
    """Events that a view cannot take, of which `udfs.features.events.view_events.Split` tells row, code and
    reason."""
    times, ids = events.column(EVENT_TIME), events.column(EVENT_ID)
    return [Refused(code, times[row].as_py(), ids[row].as_py(), reason) for row, code, reason in refused]
