"""Make a candidate's answer: decode, predict, and say for each record what became of it."""

from __future__ import annotations

from itertools import count

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.codecs.base import Codec
from schemas.errors import PredictError
from schemas.results.answers import Answer, AnswerColumn, AnswerOutcome, to_columns
from udfs.ensemble.execution.clock import Clock
from udfs.ensemble.execution.job import Job
from udfs.models.loaded_model import LoadedModel
from udfs.serving.scoring import predict

# Failing calls are repeated by halves to find the records at fault, but not for ever: the other candidates
# share the interpreter with this one. So many find three records at fault in a batch of a thousand.
_REPEATS = 64

Part = tuple[NDArray, dict[str, NDArray]]


def evaluate(job: Job, model: LoadedModel, codec: Codec, clock: Clock, max_batch: int) -> Answer:
    """Never raises. FAILED where no record could be scored, with the first record's reason."""
    parts: list[Part] = []
    faults: dict[int, str] = {}
    codes: dict[int, str] = {}
    ms = 0.0
    repeats = count(1)
    try:
        for start in range(0, len(job.payloads), max_batch):
            payloads = job.payloads[start : start + max_batch]
            made = predict(
                payloads, model, codec, lambda: next(repeats) < _REPEATS and not job.over(clock.epoch())
            )
            ms += made.ms
            for rows, columns in made.parts:
                at = np.arange(len(payloads)) if rows is None else rows
                parts.append((at + start, dict(columns)))
            faults.update((start + bad.row, bad.reason) for bad in made.bad)
            codes.update((start + bad.row, bad.code) for bad in made.bad)
            faults.update((start + row, reason) for row, reason in made.failed.items())
        found, outputs = _joined(parts)
    except BaseException as e:  # whatever a model does, its request is answered and its thread lives on
        reason = str(e) if isinstance(e, PredictError) else f"{type(e).__name__}: {e}"
        return _answer(job, model, clock, AnswerOutcome.FAILED, ms=ms, reason=reason)
    where = job.asked.rows
    bad = {row if where is None else where[row]: faults[row] for row in sorted(faults)}
    unfit = {row if where is None else where[row]: code for row, code in codes.items()}
    if not len(found):
        reason = next(iter(bad.values()), "the batch holds no record")
        return _answer(job, model, clock, AnswerOutcome.FAILED, ms=ms, bad=bad, unfit=unfit, reason=reason)
    scored = None if where is None and not bad else tuple(_in_batch(found, where))
    return _answer(
        job, model, clock, AnswerOutcome.SCORED, rows=scored, columns=outputs, bad=bad, unfit=unfit, ms=ms
    )


def failed(job: Job, model: LoadedModel, clock: Clock, reason: str) -> Answer:
    """The answer for a call that cannot give one."""
    return _answer(job, model, clock, AnswerOutcome.FAILED, reason=reason)


def _in_batch(rows: NDArray, batch_rows: tuple[int, ...] | None) -> list[int]:
    return rows.tolist() if batch_rows is None else [batch_rows[row] for row in rows]


def _joined(parts: list[Part]) -> tuple[NDArray, dict[str, AnswerColumn]]:
    if not parts:
        return np.arange(0), {}
    if len(parts) == 1:
        return parts[0][0], to_columns(parts[0][1])
    rows = np.concatenate([rows for rows, _ in parts])
    names = parts[0][1]
    return rows, to_columns({name: np.concatenate([columns[name] for _, columns in parts]) for name in names})


def _answer(
    job: Job,
    model: LoadedModel,
    clock: Clock,
    outcome: AnswerOutcome,
    *,
    rows: tuple[int, ...] | None = None,
    columns: dict[str, AnswerColumn] | None = None,
    bad: dict[int, str] | None = None,
    unfit: dict[int, str] | None = None,
    ms: float = 0.0,
    reason: str = "",
) -> Answer:
    request, stamp = job.request, model.stamp
    return Answer(
        request.batch_id,
        request.data_type,
        job.asked.candidate,
        outcome,
        version=stamp.version,
        digest=stamp.digest,
        rows=rows,
        columns=columns or {},
        bad=bad or {},
        unfit=unfit or {},
        ms=ms,
        waited_ms=max(clock.epoch() - request.created, 0.0),
        reason=reason,
        signer=stamp.signer or msgspec.UNSET,
    )
