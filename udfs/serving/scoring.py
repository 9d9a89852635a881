"""Score one batch with one loaded model: the path that every record takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.codecs.base import Code, Codec
from schemas.errors import PredictError, UnresponsiveError
from schemas.micro_batch import MicroBatch
from schemas.results.dead_letter import dead_letter
from schemas.results.records import DeadLetter, Outcome
from schemas.results.results import Experiments, Identity, Stamp, write_results
from schemas.tensors import BadRecord, Columns
from udfs.models.loaded_model import LoadedModel

T = TypeVar("T")
Score = tuple[NDArray, Mapping[str, NDArray]]
Steps = Generator[Columns, Columns, T]
"""Work that yields what a model is to be called with, is sent the answer or thrown the `PredictError`, and
returns what it made. Who drives it decides how calls are made and waited for."""
NONE: Experiments = {}
_UNWRITTEN = "the record can be read, but not be written as the JSON that a result is"


@dataclass(slots=True)
class ScoredRecords:
    """What became of a batch: result lines with the index of their record, in order, and dead letters.

    `len(lines) + len(dead)` is the number of records. `rows` is None where every record has a line.
    `failures` counts the lines that say that the model failed; `ms` is the time spent in `predict`.
    """

    lines: Sequence[bytes] = ()
    rows: list[int] | None = None
    dead: list[DeadLetter] = field(default_factory=list)
    failures: int = 0
    ms: float = 0.0


@dataclass(slots=True)
class Prediction:
    """What a model made of n payloads, by index of the payload.

    `parts`: rows, ascending, and their outputs; one without rows covers all n. `failed`: why the model failed
    at a record; `bad`: records that could not become its input. `ms`: the time spent in `predict`, 0 where
    the model was not asked.
    """

    parts: list[tuple[NDArray | None, Mapping[str, NDArray]]] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    bad: Sequence[BadRecord] = ()
    ms: float = 0.0


def predict(
    payloads: Sequence[bytes], model: LoadedModel, codec: Codec, go_on: Callable[[], bool] = lambda: True
) -> Prediction:
    """Decode and predict. A call that fails is repeated by halves for as long as `go_on` says so.

    Raises nothing that the model raises as a `PredictError`, and a loaded model raises nothing else.
    """
    return _driven(_predicting(payloads, model, codec, go_on, time.perf_counter), model)


def _driven(steps: Steps[T], model: LoadedModel) -> T:
    """What the steps make, each call made here and now."""
    try:
        columns = next(steps)
        while True:
            try:
                answer = model.predict(columns)
            except PredictError as e:
                columns = steps.throw(e)
            else:
                columns = steps.send(answer)
    except StopIteration as made:
        return made.value


def _predicting(
    payloads: Sequence[bytes],
    model: LoadedModel,
    codec: Codec,
    go_on: Callable[[], bool],
    clock: Callable[[], float],
) -> Steps[Prediction]:
    declared = (model.readings,) if model.readings else ()
    decoded = codec.decode(payloads, model.inputs, *declared)
    done = Prediction(bad=decoded.bad)
    if not decoded.count:
        return done
    failed: dict[int, str] = {}
    started = clock()
    scores = yield from _predict(model, decoded.columns, np.arange(decoded.count), failed, go_on)
    done.ms = (clock() - started) * 1000
    good = decoded.rows
    if good is None and len(scores) == 1 and not failed:
        done.parts = [(None, scores[0][1])]
        return done
    where = np.arange(decoded.count) if good is None else np.asarray(good)
    done.parts = [(where[part], columns) for part, columns in scores]
    done.failed = {int(where[at]): reason for at, reason in failed.items()}
    return done


def score(
    batch: MicroBatch, model: LoadedModel, codec: Codec, raw_json: bool, experiments: Experiments = NONE
) -> ScoredRecords:
    """Decode, predict and write. Every record comes out: scored, failed with a reason, or a dead letter.

    `raw_json`: payloads are JSON objects, to which a result appends; otherwise `codec.to_json` makes one.
    `experiments`: what all records of the batch are part of.
    """
    return _driven(scoring(batch, model, codec, raw_json, experiments), model)


def scoring(  # noqa: PLR0917
    batch: MicroBatch,
    model: LoadedModel,
    codec: Codec,
    raw_json: bool,
    experiments: Experiments = NONE,
    clock: Callable[[], float] = time.perf_counter,
) -> Steps[ScoredRecords]:
    """As `score`, in steps. `clock`: in seconds, for what the calls took."""
    made = yield from _predicting(batch.payloads, model, codec, lambda: True, clock)
    done = ScoredRecords(
        dead=[dead_letter(batch, bad) for bad in made.bad], ms=made.ms, failures=len(made.failed)
    )
    stamp = _stamp(batch, model, made.ms, experiments)
    records, unwritten = (batch.payloads, ()) if raw_json else _as_json(batch, codec, made.bad)
    identity = identity_of(batch)
    if len(made.parts) == 1 and not made.failed:
        rows, columns = made.parts[0]
        done.lines = write_results(records, stamp, identity, columns, rows)
        done.rows = None if rows is None else rows.tolist()
        return _without_unwritten(done, batch, unwritten)
    lines: dict[int, bytes] = {}
    for rows, columns in made.parts:
        assert rows is not None  # one part of all records is what is written above
        lines.update(zip(rows.tolist(), write_results(records, stamp, identity, columns, rows), strict=True))
    for row, reason in made.failed.items():
        failed = replace(stamp, outcome=Outcome.FAILED, reason=reason)
        lines[row] = write_results(records, failed, identity, None, [row])[0]
    done.rows = sorted(lines)
    done.lines = [lines[row] for row in done.rows]
    done.failures -= len(made.failed.keys() & {*unwritten})
    return _without_unwritten(done, batch, unwritten)


def unscored(
    batch: MicroBatch, codec: Codec, raw_json: bool, reason: str, experiments: Experiments = NONE
) -> ScoredRecords:
    """Mark every record that is one as not scored for want of a model; the rest are dead letters."""
    done = ScoredRecords(rows=[])
    stamp = Stamp(batch.data_type, "", 0, "", Outcome.NO_MODEL, 0.0, reason, experiments=experiments)
    records: list[bytes] = []
    for row, payload in enumerate(batch.payloads):
        text = codec.to_json(payload)
        if text is None:
            done.dead.append(dead_letter(batch, _why(codec, payload, row)))
        else:
            done.rows.append(row)  # type: ignore[union-attr]
        records.append(b"{}" if text is None else payload if raw_json else text)
    done.lines = write_results(records, stamp, identity_of(batch), None, done.rows)
    return done


def _why(codec: Codec, payload: bytes, row: int) -> BadRecord:
    """Why a payload is no record."""
    bad = codec.decode([payload], ()).bad
    if bad:
        return BadRecord(row, bad[0].code, bad[0].reason)
    return BadRecord(row, Code.UNPARSABLE.value, "the record cannot be parsed")


def identity_of(batch: MicroBatch) -> Identity:
    return Identity(batch.source, batch.partitions, batch.offsets, batch.event_times)


class _WrongShapeError(PredictError):
    """The answer is not what the model declares. No record is to blame, so there is no use in halving."""


def _predict(
    model: LoadedModel, columns: Columns, rows: NDArray, reasons: dict[int, str], go_on: Callable[[], bool]
) -> Steps[list[Score]]:
    """Scores of `rows` in parts. A batch that fails is halved until the records at fault stand alone."""
    try:
        answer = yield columns
        _check_shapes(answer, model)
        bad = _not_finite(answer, len(rows))
    except PredictError as e:
        if 0 < len(e.rows) < len(rows) and go_on():
            return (yield from _without(model, columns, rows, e.rows, reasons, go_on))
        whole = isinstance(e, (_WrongShapeError, UnresponsiveError)) or len(e.rows) == len(rows)
        if len(rows) == 1 or whole or not go_on():
            reasons.update((int(row), e.rows.get(at, str(e))) for at, row in enumerate(rows))
            return []
        middle = len(rows) // 2
        halves = [slice(0, middle), slice(middle, None)]
        scores: list[Score] = []
        for half in halves:
            part = {n: c[half] for n, c in columns.items()}
            scores += yield from _predict(model, part, rows[half], reasons, go_on)
        return scores
    if bad is None:
        return [(rows, answer)]
    reasons.update((int(row), "the model's answer is not finite") for row in rows[bad])
    keep = ~bad
    return [(rows[keep], {n: c[keep] for n, c in answer.items()})] if keep.any() else []


def _without(  # noqa: PLR0917
    model: LoadedModel, columns: Columns, rows: NDArray, bad: Mapping[int, str], reasons: dict[int, str],
    go_on: Callable[[], bool],
) -> Steps[list[Score]]:  # fmt: skip
    """Scores of the rows that the model did not refuse by name."""
    reasons.update((int(rows[at]), reason) for at, reason in bad.items())
    keep = np.ones(len(rows), bool)
    keep[list(bad)] = False
    kept = {n: c[keep] for n, c in columns.items()}
    return (yield from _predict(model, kept, rows[keep], reasons, go_on))


def _check_shapes(answer: Columns, model: LoadedModel) -> None:
    for o in model.outputs:
        column = answer.get(o.name)
        if column is None:
            raise _WrongShapeError(f"the model did not answer with its output {o.name!r}")
        if column.ndim == 0 or column.shape[1:] != o.shape:
            shape = ", ".join(["n", *map(str, o.shape)])
            raise _WrongShapeError(f"output {o.name!r} has the shape {column.shape}, declared is ({shape})")


def _not_finite(answer: Columns, count: int) -> NDArray | None:
    bad: NDArray | None = None
    for name, column in answer.items():
        if len(column) != count:
            raise PredictError(f"output {name!r} has {len(column)} rows for {count} records")
        if column.dtype.kind != "f":
            continue
        # one sum finds out whether there is anything to look for: NaN and infinity survive it
        with np.errstate(all="ignore"):
            total = column.sum(dtype=np.float64)
        if np.isfinite(total):
            continue
        wrong = ~np.isfinite(column).reshape(count, -1).all(axis=1)
        bad = wrong if bad is None else bad | wrong
    return bad if bad is not None and bad.any() else None


def _stamp(batch: MicroBatch, model: LoadedModel, ms: float, experiments: Experiments) -> Stamp:
    by = model.stamp
    scored = Outcome.SCORED
    return Stamp(batch.data_type, by.name, by.version, by.digest, scored, ms, "", by.signer, experiments)


def _as_json(
    batch: MicroBatch, codec: Codec, bad: Sequence[BadRecord]
) -> tuple[Sequence[bytes], Sequence[int]]:
    """The records as JSON, and the rows of those that could be read and not be written so."""
    unfit = {b.row for b in bad}
    texts = [b"{}" if row in unfit else codec.to_json(p) for row, p in enumerate(batch.payloads)]
    unwritten = [row for row, text in enumerate(texts) if text is None]
    return [text or b"{}" for text in texts], unwritten


def _without_unwritten(done: ScoredRecords, batch: MicroBatch, unwritten: Sequence[int]) -> ScoredRecords:
    """A result is its record with more in it: without the record it would be none."""
    if unwritten:
        rows = range(len(batch)) if done.rows is None else done.rows
        kept = [(row, line) for row, line in zip(rows, done.lines, strict=True) if row not in unwritten]
        done.rows, done.lines = [row for row, _ in kept], [line for _, line in kept]
        done.dead += [
            dead_letter(batch, BadRecord(row, Code.UNPARSABLE.value, _UNWRITTEN)) for row in unwritten
        ]
    return done
