"""Which events of a batch can be used at all: one rule for streams and for history."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.codecs.base import Code
from schemas.features.declarations import Column, FeatureType, Source, day_ms, duration_ms

FUTURE, NULL_TIME, OUT_OF_RANGE = "future", "null_time", "out_of_range"

EARLIEST = -62_135_596_800_000
"""The first millisecond of the year 1: Flink's timestamps are not made for less."""
_YEAR_2100 = 4_102_444_800_000
_UNIT = ": if these are no milliseconds, declare the unit of the column"

Refused = tuple[int, str, str]
"""Row, code and reason."""


def untimely(times: pa.Array, source: Source, now: int) -> Iterator[Refused]:
    """Events without a time, from before the source's first day, or further ahead of `now` than it allows."""
    limit = now + duration_ms(source.future)
    first = max(day_ms(source.since), EARLIEST + 1) if source.since else EARLIEST + 1
    missing = times.is_null().to_numpy(zero_copy_only=False)
    known = times.fill_null(0).to_numpy()
    for at in np.flatnonzero(missing):
        yield int(at), NULL_TIME, f"{source.event_time!r} is null"
    for at in np.flatnonzero(~missing & (known > limit)):
        reason = f"{source.event_time!r} is {times[at]}, more than {source.future} ahead"
        yield int(at), FUTURE, f"{reason}{_UNIT if known[at] > _YEAR_2100 else ''}"
    for at in np.flatnonzero(~missing & (known < first)):
        before = f"before {source.since}{_UNIT}" if known[at] > EARLIEST else "before the year 1"
        yield int(at), OUT_OF_RANGE, f"{source.event_time!r} is {times[at]} epoch milliseconds, {before}"


def numbers_or_null(column: pa.Array, kind: FeatureType) -> pa.Array:
    """With null where a number is not finite: JSON, as which streams read all encodings, has no word for
    it."""
    if kind is FeatureType.FLOAT64:
        return pc.if_else(pc.is_finite(column), column, None)
    if kind is FeatureType.FLOAT64_LIST:
        flat = column.flatten()
        numbers = pc.if_else(pc.is_finite(flat), flat, None)
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        return pa.ListArray.from_arrays(offsets, numbers, mask=column.is_null())
    return column


def lacking(batch: pa.RecordBatch, columns: tuple[Column, ...]) -> Iterator[Refused]:
    """Rows with a null where none may be, or a null in a list; the first fault of each."""
    told = np.zeros(batch.num_rows, bool)
    for column in columns:
        values = batch.column(column.name)
        found: list[tuple[np.ndarray, Code, str]] = []
        if not column.nullable:
            missing = values.is_null().to_numpy(zero_copy_only=False)
            found.append((missing, Code.NULL, f"{column.name!r} is null"))
        if pa.types.is_list(values.type):
            flat = values.flatten()
            inside = np.zeros(batch.num_rows, bool)
            if flat.null_count:
                parents = pc.list_parent_indices(values).to_numpy()
                inside[parents[flat.is_null().to_numpy(zero_copy_only=False)]] = True
            found.append((inside, Code.WRONG_TYPE, f"the list in {column.name!r} has a null"))
        for mask, code, reason in found:
            for at in np.flatnonzero(mask & ~told):
                yield int(at), code.value, reason
            told |= mask
