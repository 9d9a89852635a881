"""Scoring a file of records with a loaded model, by the code that a job scores with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from millrace.files.base import FileBatch, RecordFile
from millrace.files.scores import ScoreFile, Told, values_of
from schemas.codecs.base import Codec
from schemas.results.records import Outcome
from udfs.models.loaded_model import LoadedModel
from udfs.serving.scoring import predict

REFUSED = "refused"
_SCORED = Told(Outcome.SCORED.value)


def score_file(records: RecordFile, model: LoadedModel, into: ScoreFile, max_batch: int) -> Counter[str]:
    """Score batch by batch; the records by outcome, and the refused ones also by `refused: CODE`.

    Raises `SourceError` for a damaged file.
    """
    counts: Counter[str] = Counter()
    for read in records.batches(max_batch):
        columns, told = score_batch(read, model, records.codec)
        into.write(columns, told)
        counts.update(t.outcome for t in told)
        counts.update(f"{REFUSED}: {t.code}" for t in told if t.code)
    return counts


def score_batch(read: FileBatch, model: LoadedModel, codec: Codec) -> tuple[dict[str, list[Any]], list[Told]]:
    """By output a value or None for each record, and what became of it."""
    count = len(read.payloads)
    made = predict(read.payloads, model, codec)
    told = [_SCORED] * count
    for row, reason in made.failed.items():
        told[row] = Told(Outcome.FAILED.value, reason=reason)
    for bad in (*made.bad, *read.unreadable.values()):  # what could not be read is also bad to the codec
        told[bad.row] = Told(REFUSED, bad.code, bad.reason)
    columns: dict[str, list[Any]] = {o.name: [None] * count for o in model.outputs}
    for rows, part in made.parts:
        where = np.arange(count) if rows is None else rows
        for name, column in columns.items():
            for row, value in zip(where.tolist(), values_of(part[name]), strict=True):
                column[row] = value
    return columns, told


def summary(counts: Counter[str]) -> Iterator[str]:
    """What to tell a person about a file that was scored, one line each."""
    total = sum(counts[o] for o in (Outcome.SCORED.value, Outcome.FAILED.value, REFUSED))
    yield f"Scored {counts[Outcome.SCORED.value]:,} of {total:,} records"
    if counts[Outcome.FAILED.value]:
        yield f"Failed in the model: {counts[Outcome.FAILED.value]:,}"
    codes = {name.partition(": ")[2]: n for name, n in counts.items() if ": " in name}
    if codes:
        said = ", ".join(f"{code} {n:,}" for code, n in sorted(codes.items(), key=lambda item: -item[1]))
        yield f"Refused, a job would make them dead letters: {counts[REFUSED]:,} ({said})"
