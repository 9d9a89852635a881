"""Settled predictions as rows of the prediction store: one row a prediction and outcome, in Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import orjson
import pyarrow as pa

from schemas.errors import SettingsError
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import ARROW, CREATED, TIMESTAMP
from udfs.lifecycle.outcomes.joining import Settled
from udfs.lifecycle.outcomes.judging import KINDS, Judging, as_declared

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
_OF_OUTCOMES = {
    "judged": TEXT,
    "kind": TEXT,
    "fate": TEXT,
    "revision": INT,
    "outcome": FLOAT,
    "outcome_json": TEXT,
    "outcome_time": TIME,
    "delay_ms": INT,
    "replaced": FLOAT,
    "metrics": TEXT,
}
OWN = (*_OF_PREDICTIONS, *_OF_OUTCOMES)
"""The store's own columns; the others are fields of the record, and times."""
_FIELD = attrgetter("predicted")


def columns(judging: Judging) -> dict[str, FeatureType]:
    """Of the store's rows for one data type, before the two times. Raises `SettingsError` where a field of
    the record would be called as one of them."""
    own = {**_OF_PREDICTIONS, **_OF_OUTCOMES}
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


def to_rows(settled: Sequence[Settled], judging: Judging, created: int) -> pa.RecordBatch:
    """`created`: epoch milliseconds, of writing."""
    predicted = list(map(_FIELD, settled))
    data: dict[str, list[object]] = {name: list(map(attrgetter(name), predicted)) for name in _OF_PREDICTIONS}
    data[MODEL] = [_folder(str(model)) for model in data[MODEL]]
    came = [one.came for one in settled]
    data |= {
        "judged": [judging.score] * len(settled),
        "kind": [judging.kind] * len(settled),
        "fate": [NO_OUTCOME if one.fate is None else one.fate.value for one in settled],
        "revision": [one.revision for one in settled],
        "outcome": [judging.without if c is None else c.value for c in came],
        "outcome_json": [None if c is None else c.text for c in came],
        "outcome_time": [None if c is None else c.time for c in came],
        "delay_ms": [
            None if c is None else c.time - p.event_time for c, p in zip(came, predicted, strict=True)
        ],
        "replaced": [one.replaced for one in settled],
        "metrics": [None if c is None or not c.metrics else orjson.dumps(c.metrics).decode() for c in came],
    }
    for name, kind in judging.fields.items():
        data[name] = [as_declared(p.fields.get(name), kind) for p in predicted]  # a savepoint's may differ
    data |= {TIMESTAMP: [p.event_time for p in predicted], CREATED: [created] * len(settled)}
    types = {**columns(judging), TIMESTAMP: TIME, CREATED: TIME}
    arrays = [pa.array(data[name], ARROW[kind]) for name, kind in types.items()]
    return pa.RecordBatch.from_arrays(arrays, names=list(types))
