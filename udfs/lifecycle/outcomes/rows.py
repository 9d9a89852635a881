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
from udfs.lifecycle.outcomes.messages import Came, Predicted

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
_Column = Sequence[object]
_OF_OUTCOMES: dict[str, tuple[FeatureType, Callable[[Sequence[Settled], Judging], _Column]]] = {
    "judged": (TEXT, lambda settled, judging: [judging.stored_score] * len(settled)),
    "kind": (TEXT, lambda settled, judging: [judging.kept_as] * len(settled)),
    "fate": (TEXT, lambda settled, _: [NO_OUTCOME if s.fate is None else s.fate for s in settled]),
    "revision": (INT, lambda settled, _: [s.revision for s in settled]),
    "outcome": (
        FLOAT,
        lambda settled, judging: [judging.without if s.came is None else s.came.value for s in settled],
    ),
    "outcome_json": (TEXT, lambda settled, _: [s.came and s.came.text for s in settled]),
    "outcome_time": (TIME, lambda settled, _: [s.came and s.came.time for s in settled]),
    "delay_ms": (INT, lambda settled, _: [s.came and s.came.time - s.predicted.event_time for s in settled]),
    "replaced": (FLOAT, lambda settled, _: [s.replaced for s in settled]),
    "metrics": (TEXT, lambda settled, _: [_metrics(s.came) for s in settled]),
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
    predicted = [one.predicted for one in settled]
    arrays = [
        pa.array(_column(name, settled, predicted, judging, created), ARROW[types[name]]) for name in names
    ]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _column(
    name: str, settled: Sequence[Settled], predicted: Sequence[Predicted], judging: Judging, created: int
) -> _Column:
    if name == CREATED:
        return [created] * len(settled)
    if name == TIMESTAMP:
        return [one.event_time for one in predicted]
    if name in _OF_OUTCOMES:
        _, values = _OF_OUTCOMES[name]
        return values(settled, judging)
    if kind := judging.fields.get(name):  # a savepoint's may differ
        return [as_declared(one.fields.get(name), kind) for one in predicted]
    found = list(map(attrgetter(name), predicted))
    return [_folder(model) for model in found] if name == MODEL else found


def _metrics(came: Came | None) -> str | None:
    return orjson.dumps(came.metrics).decode() if came is not None and came.metrics else None
