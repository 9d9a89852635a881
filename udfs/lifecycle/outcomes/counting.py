"""Quality from rows of the prediction store: the one way in which a stream and a batch count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa

from schemas.features.feature_batch import TIMESTAMP
from udfs.lifecycle.outcomes.fates import OutcomeFate
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.outcomes.rows import MODEL, NO_MODEL, NO_OUTCOME
from udfs.lifecycle.quality.classification import ClassificationSums
from udfs.lifecycle.quality.regression import RegressionSums
from udfs.lifecycle.quality.windows import Quality, QualityKey, QualitySums

COUNTED: tuple[str, ...] = (
    "fate",
    "revision",
    "score",
    "outcome",
    "replaced",
    MODEL,
    "version",
    "plan",
    "plan_version",
)
COUNTED += ("experiments", "answers", TIMESTAMP)
"""The columns that are read, beside those of slices."""
_APART = (MODEL, "version", "plan", "plan_version", "experiments")
_EXPERIMENTS = 5
"""Where experiments stand in a window and the values of _APART."""
OTHER = "(other)"
LONGEST = 200
"""Characters of a slice, an arm or a candidate."""
_FIRST = (OutcomeFate.JOINED.value, NO_OUTCOME)
_Scored = tuple[float | None, float | None, float | None, bool]


class Counter:
    """Counts rows of one data type. `window_ms`: of event time. `most_keys`: beyond so many combinations of
    what is told apart, slices of new ones count together as OTHER."""

    def __init__(self, data_type: str, judging: Judging, window_ms: int, most_keys: int = 10_000) -> None:
        self._data_type, self._judging, self._window_ms = data_type, judging, window_ms
        self._most_keys = most_keys

    def count(self, quality: Quality, rows: pa.RecordBatch, open_from: int = 0) -> set[QualityKey]:
        """The keys whose sums have changed. Windows that begin before `open_from` get nothing; what is
        counted since the start does."""
        groups = self._groups(rows)
        changed: set[QualityKey] = set()
        for key, found in groups.items():
            part = self._sums(found)
            whole = msgspec.structs.replace(key, window=-1)
            for one in (key, whole) if key.window >= open_from else (whole,):
                kept = (
                    one if one in quality.sums or len(quality.sums) < self._most_keys else self._coarse(one)
                )
                self._at(quality, kept).merge(part)  # type: ignore[arg-type]
                changed.add(kept)
        return changed

    def _groups(self, rows: pa.RecordBatch) -> dict[QualityKey, list[_Scored]]:
        """By window and what is told apart. Rows of a micro-batch share a few keys, each made once."""
        fates, *scored = (rows.column(name).to_pylist() for name in ("fate", "score", "outcome", "replaced"))
        apart = [rows.column(name).to_pylist() for name in (*_APART, *self._judging.slices)]
        times = rows.column(TIMESTAMP).to_numpy() // self._window_ms * self._window_ms
        made: dict[tuple[Any, ...], list[_Scored]] = defaultdict(list)
        asked: list[tuple[tuple[Any, ...], str, _Scored]] = []
        answers = rows.column("answers").to_pylist()
        for fate, row, text, *of in zip(
            fates, zip(times.tolist(), *apart, strict=True), answers, *scored, strict=True
        ):
            if fate == OutcomeFate.OUTDATED.value:
                continue
            one: _Scored = (*of, fate in _FIRST)
            made[row].append(one)
            if text:
                asked.append((row, text, one))
        groups: dict[QualityKey, list[_Scored]] = defaultdict(list)
        for row, found in made.items():
            key = self._key(row)
            groups[key] += found
            for experiment, arm in _arms(row[_EXPERIMENTS]):
                groups[msgspec.structs.replace(key, experiment=experiment, arm=arm)] += found
        for row, text, (_, came, replaced, first) in asked:
            key = self._key(row)
            for candidate, version, scores in _answers(text):
                of_it = msgspec.structs.replace(key, candidate=candidate, model="", version=version)
                groups[of_it].append((self._judging.score_of(scores), came, replaced, first))
        return groups

    def _key(self, row: tuple[Any, ...]) -> QualityKey:
        """Of a window and the values of _APART and of the slices."""
        window, model, version, plan, plan_version, _, *values = row
        return QualityKey(
            window=window,
            model="" if model == NO_MODEL else model,
            version=version,
            plan=plan or "",
            plan_version=plan_version,
            data_type=self._data_type,
            slices=tuple(sorted(zip(self._judging.slices, map(_text, values), strict=True))),
        )

    def _sums(self, found: Iterable[_Scored]) -> QualitySums:
        """Of predictions: score, outcome, the one that it replaces, and whether it is counted at first."""
        sums, corrected, before = self._new(), self._new(), self._new()
        first = [(score, came) for score, came, _, first in found if first]
        judged = [(score, came) for score, came in first if score is not None]
        pairs = [(score, came) for score, came in judged if came is not None]
        _add(sums, pairs, len(judged) - len(pairs))
        sums.unscored += len(first) - len(judged)
        again = [(s, came, old) for s, came, old, first in found if not first and s is not None]
        _add(corrected, [(score, came) for score, came, _ in again], 0)
        _add(before, [(score, old) for score, _, old in again], 0)
        sums.merge(corrected)  # type: ignore[arg-type]
        sums.merge(before, -1)  # type: ignore[arg-type]
        return sums

    def _new(self) -> QualitySums:
        numbers = self._judging.kind == "numbers"
        return RegressionSums() if numbers else ClassificationSums(self._judging.threshold)

    def _at(self, quality: Quality, key: QualityKey) -> QualitySums:
        return quality.sums.setdefault(key, self._new())

    @staticmethod
    def _coarse(key: QualityKey) -> QualityKey:
        return msgspec.structs.replace(key, slices=tuple((name, OTHER) for name, _ in key.slices))


def _add(sums: QualitySums, pairs: Iterable[tuple[Any, Any]], without_outcome: int) -> None:
    values = np.array(list(pairs), np.float64).reshape(-1, 2)
    came = values[:, 1]
    if isinstance(sums, ClassificationSums):
        sums.add(values[:, 0], came > 0, without_outcome)
    else:
        sums.add(values[:, 0], came, without_outcome)


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:LONGEST]


def _arms(text: str | None) -> Iterator[tuple[str, str]]:
    """Experiment and arm, of each that the record is part of."""
    for name, of in (orjson.loads(text) if text else {}).items():
        yield name[:LONGEST], _text(of.get("arm") if isinstance(of, Mapping) else of)


def _answers(text: str | None) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Candidate, its version, and what it scored, of each that scored."""
    for name, of in (orjson.loads(text) if text else {}).items():
        if isinstance(of, Mapping) and of.get("outcome") == "scored":
            version, scores = of.get("version", 0), of.get("scores")
            whole = version if type(version) is int else 0
            yield name[:LONGEST], whole, scores if isinstance(scores, dict) else {}
