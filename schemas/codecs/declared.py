"""Parsed records to columns where a model's descriptor declares how its fields are read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from schemas.codecs.base import UnfitError
from schemas.codecs.field_reading import Readings
from schemas.codecs.matrix import Access, finish, to_column
from schemas.codecs.reading_plan import Read, compiled
from schemas.tensors import LIST, BadRecord, Decoded, Input

_plan = lru_cache(maxsize=64)(compiled)  # a data type has one a model version


def assemble_declared(
    records: Sequence[Any],
    inputs: Sequence[Input],
    readings: Readings,
    *,
    access: Access,
    kept: Sequence[int],
    bad: list[BadRecord],
) -> Decoded:
    """Columns of `records`, which stand at the indices `kept` of their micro-batch; `bad` is taken over."""
    reads: list[Read] = _plan(tuple(inputs), readings, access)
    flat: list[list[Any]] = [[] for _ in inputs]
    pairs = list(zip(reads, flat, strict=True))
    good: list[int] = []
    for row, record in zip(kept, records, strict=True):
        lengths = [len(values) for values in flat]
        try:
            for read, values in pairs:
                read(record, values)
            good.append(row)
        except UnfitError as e:
            bad.append(e.at(row))
            for values, length in zip(flat, lengths, strict=True):
                del values[length:]
    columns = {
        i.name: to_column(values if i.shape == LIST else (values,), len(good), i)
        for i, values in zip(inputs, flat, strict=True)
    }
    return finish(columns, good, bad)
