"""Settled predictions as rows of the prediction store: one row a prediction and outcome, in Arrow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from operator import attrgetter

import orjson
import pyarrow as pa

from schemas.errors import SettingsError
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import ARROW, CREATED, TIMESTAMP
from udfs.lifecycle.outcomes.joining import Settled
from udfs.lifecycle.outcomes.judging import KINDS, Judging, as_declared
from udfs.lifecycle.outcomes.messages import Came

INT, FLOAT, TEXT, TIME = FeatureType.INT64, FeatureType.FLOAT64, FeatureType.STRING, FeatureType.TIMESTAMP
MODEL = "model"
"""The column by which files are partitioned, beside the day; NO_MODEL stands for none."""
NO_MODEL = "-"
NO_OUTCOME = "no_outcome"

_OF_PREDICTIONS = {
    "source": TEXT,
    "partition": INT,
    "offset": INT,
    "entity": TEXT,
    "scoring": TEXT,
    "ms": FLOAT,
    "score": FLOAT,
    "scores": TEXT,
    MODEL: TEXT,
    "version": INT,
    "digest": TEXT,
    "rule": TEXT,
    "plan": TEXT,
    "plan_version": INT,
    "experiments": TEXT,
    "answers": TEXT,
    "features": TEXT,
}
_OF_OUTCOMES: dict[str, tuple[FeatureType, Callable[[Settled, Judging], object]]] = {
    "judged": (TEXT, lambda _, judging: judging.score),
    "kind": (TEXT, lambda _, judging: judging.kind),
    "fate": (TEXT, lambda one, _: NO_OUTCOME if one.fate is None else one.fate),
    "revision": (INT, lambda one, _: one.revision),
    "outcome": (FLOAT, lambda one, judging: judging.without if one.came is None else one.came.value),
    "outcome_json": (TEXT, lambda one, _: one.came and one.came.text),
    "outcome_time": (TIME, lambda one, _: one.came and one.came.time),
    "delay_ms": (INT, lambda one, _: one.came and one.came.time - one.predicted.event_time),
    "replaced": (FLOAT, lambda one, _: one.replaced),
    "metrics": (TEXT, lambda one, _: _metrics(one.came)),
}
OWN = (*_OF_PREDICTIONS, *_OF_OUTCOMES)
"""The store's own columns; the others are fields of the record, and times."""


def columns(judging: Judging) -> dict[str, FeatureType]:
    """Of the store's rows for one data type, before the two times. Raises `SettingsError` where a field of
    the record would be called as one of them."""
    own = _OF_PREDICTIONS | {name: kind for name, (kind, _) in _OF_OUTCOMES.items()}
    taken = {*own, TIMESTAMP, CREATED, "dt"}
    if twice := sorted(taken.intersection(judging.fields)):
        raise SettingsError(
            f"a stored field cannot be called {twice[0]!r}: the store has a column of that name"
        )
    return {**own, **{name: KINDS[kind] for name, kind in judging.fields.items()}}


def _folder(model: str) -> str:
    """A name that a folder can have, escaped as the file sink does it: 255 bytes are the most."""
    short = model if len(model) <= 20 else model.encode()[:80].decode(errors="ignore")
    return short or NO_MODEL


def to_rows(
    settled: Sequence[Settled], judging: Judging, created: int, only: Collection[str] | None = None
) -> pa.RecordBatch:
    """`created`: epoch milliseconds, of writing. `only`: columns that are wanted; None: all."""
    types = {**columns(judging), TIMESTAMP: TIME, CREATED: TIME}
    names = [name for name in types if only is None or name in only]
    arrays = [pa.array(_column(name, settled, judging, created), ARROW[types[name]]) for name in names]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _column(name: str, settled: Sequence[Settled], judging: Judging, created: int) -> list[object]:
    if name == CREATED:
        return [created] * len(settled)
    if name == TIMESTAMP:
        return [one.predicted.event_time for one in settled]
    if name in _OF_OUTCOMES:
        _, value = _OF_OUTCOMES[name]
        return [value(one, judging) for one in settled]
    if kind := judging.fields.get(name):  # a savepoint's may differ
        return [as_declared(one.predicted.fields.get(name), kind) for one in settled]
    found = list(map(attrgetter(f"predicted.{name}"), settled))
    return [_folder(model) for model in found] if name == MODEL else found


def _metrics(came: Came | None) -> str | None:
    return orjson.dumps(came.metrics).decode() if came is not None and came.metrics else None
