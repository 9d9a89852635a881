"""Quality from rows of the prediction store: the one way in which a stream and a batch count."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.features.feature_batch import TIMESTAMP
from udfs.features.row_codes import row_codes
from udfs.lifecycle.outcomes.fates import OutcomeFate
from udfs.lifecycle.outcomes.judging import MULTICLASS, Judging
from udfs.lifecycle.outcomes.rows import MODEL, NO_MODEL, NO_OUTCOME
from udfs.lifecycle.quality.classification import ClassificationSums
from udfs.lifecycle.quality.labels import LabelSums
from udfs.lifecycle.quality.many_classes import ManyClassesSums
from udfs.lifecycle.quality.regression import RegressionSums
from udfs.lifecycle.quality.windows import Quality, QualityKey, QualitySums, add_up

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
"""The columns that are read of every data type."""
_APART = (MODEL, "version", "plan", "plan_version", "experiments")
_EXPERIMENTS = 5
"""Where experiments stand in a window and the values of _APART."""
OTHER = "(other)"
LONGEST = 200
"""Characters of a slice, an arm or a candidate."""
_FIRST = (OutcomeFate.JOINED.value, NO_OUTCOME)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Scored:
    """Of n predictions, shapes (n,): score, outcome, and the one that it replaces, NaN where there is none,
    and whether each is counted for the first time. Of probabilities of several classes the scores are of
    shape (n, K)."""

    scores: Floats
    came: Floats
    replaced: Floats
    first: NDArray[np.bool_]

    def at(self, places: NDArray[np.intp]) -> _Scored:
        return _Scored(self.scores[places], self.came[places], self.replaced[places], self.first[places])


def counted_columns(judging: Judging) -> list[str]:
    """What a `Counter` reads of rows."""
    return [*COUNTED, *(["scores"] if judging.kept_as == MULTICLASS else []), *judging.slices]


class Counter:
    """Counts rows of one data type. `window_ms`: of event time. `most_keys`: beyond so many combinations of
    what is told apart, slices of new ones count together as OTHER."""

    def __init__(self, data_type: str, judging: Judging, window_ms: int, most_keys: int = 10_000) -> None:
        self._data_type, self._judging, self._window_ms = data_type, judging, window_ms
        self._most_keys, self._several = most_keys, judging.kept_as == MULTICLASS
        self._none = self._new()

    def count(self, quality: Quality, rows: pa.RecordBatch, open_from: int = 0) -> set[QualityKey]:
        """The keys whose sums have changed. Windows that begin before `open_from` get nothing; what is
        counted since the start does."""
        changed: set[QualityKey] = set()
        for key, found in self._groups(rows):
            part = self._sums(found)
            whole = msgspec.structs.replace(key, window=-1)
            for one in (key, whole) if key.window >= open_from else (whole,):
                kept = self._kept(quality, one)
                self._at(quality, kept).merge(part)  # type: ignore[arg-type]
                changed.add(kept)
        return changed

    def _groups(self, rows: pa.RecordBatch) -> Iterator[tuple[QualityKey, _Scored]]:
        """By window and what is told apart. Rows of a micro-batch share a few keys, each made once."""
        rows = rows.filter(pc.not_equal(rows.column("fate"), OutcomeFate.OUTDATED.value))
        if not rows.num_rows:
            return
        scored = self._scored(rows)
        windows = rows.column(TIMESTAMP).to_numpy() // self._window_ms * self._window_ms
        apart = [rows.column(name) for name in (*_APART, *self._judging.slices)]
        codes, combinations = row_codes([pa.array(windows), *apart])
        keys = [self._key(values) for values in combinations]
        places: dict[QualityKey, list[NDArray[np.intp]]] = defaultdict(list)
        for key, values, found in zip(keys, combinations, _places(codes), strict=True):
            places[key].append(found)
            for experiment, arm in _arms(values[_EXPERIMENTS]):
                places[msgspec.structs.replace(key, experiment=experiment, arm=arm)].append(found)
        for key, of_it in places.items():
            yield key, scored.at(np.concatenate(of_it))
        asked: dict[QualityKey, list[tuple[int, float | list[float] | None]]] = defaultdict(list)
        for row, text in enumerate(rows.column("answers").to_pylist()):
            for candidate, version, scores in _answers(text):
                of_candidate = {"candidate": candidate, "model": "", "version": version}
                key = msgspec.structs.replace(keys[codes[row]], **of_candidate)
                asked[key].append((row, self._judged(scores)))
        for key, answers in asked.items():
            at, scores_of_it = zip(*answers, strict=True)
            yield key, replace(scored.at(np.array(at)), scores=np.array(scores_of_it, np.float64))

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

    def _sums(self, found: _Scored) -> QualitySums:
        sums = self._new()
        has_score = ~np.isnan(found.scores if found.scores.ndim == 1 else found.scores[:, 0])
        has_outcome = ~np.isnan(found.came)
        judged = found.first & has_score
        pairs = judged & has_outcome
        _add(sums, found.scores[pairs], found.came[pairs], int((judged & ~has_outcome).sum()))
        sums.unscored += int((found.first & ~has_score).sum())
        again = ~found.first & has_score & has_outcome & ~np.isnan(found.replaced)
        if again.any():
            corrected, before = self._new(), self._new()
            _add(corrected, found.scores[again], found.came[again])
            _add(before, found.scores[again], found.replaced[again])
            sums.merge(corrected)  # type: ignore[arg-type]
            sums.merge(before, -1)  # type: ignore[arg-type]
        return sums

    def _scored(self, rows: pa.RecordBatch) -> _Scored:
        scores, came, replaced = (
            rows.column(name).to_numpy(zero_copy_only=False) for name in ("score", "outcome", "replaced")
        )
        if self._several:
            none = self._judged({})
            judged = zip(scores.tolist(), rows.column("scores").to_pylist(), strict=True)
            found = [none if math.isnan(s) else self._judged(orjson.loads(text)) for s, text in judged]
            scores = np.array(found, np.float64)
        elif self._judging.kind == "labels":
            scores = self._places(scores)
        elif self._judging.kind == "classes":  # one that was a number before settings changed is no score
            scores = np.where((scores >= 0) & (scores <= 1), scores, math.nan)
        if self._judging.kind != "numbers":
            came, replaced = self._places(came), self._places(replaced)
        first = pc.is_in(rows.column("fate"), pa.array(_FIRST)).to_numpy(zero_copy_only=False)
        return _Scored(scores, came, replaced, first)

    def _places(self, came: Floats) -> Floats:
        """Without what is the place of no class, as after settings have changed."""
        places = len(self._judging.classes) or 2
        return np.where((came >= 0) & (came < places) & (came % 1 == 0), came, math.nan)

    def _judged(self, scores: Mapping[str, Any]) -> float | list[float] | None:
        """What is judged of scores; of several probabilities a list always, of NaN where there is nothing."""
        if not self._several:
            return self._judging.score_of(scores)
        return self._judging.probabilities_of(scores) or [math.nan] * len(self._judging.classes)

    def _new(self) -> QualitySums:
        judging = self._judging
        match judging.kept_as:
            case "numbers":
                return RegressionSums()
            case "classes":
                return ClassificationSums(judging.threshold)
            case "labels":
                return LabelSums(judging.class_names)
            case "multiclass":
                return ManyClassesSums(judging.class_names)

    def _at(self, quality: Quality, key: QualityKey) -> QualitySums:
        """The sums of a key. Those that a savepoint has of other settings add up with nothing of these: the
        key is counted anew."""
        kept = quality.sums.get(key)
        if kept is None or not add_up(kept, self._none):
            kept = quality.sums[key] = self._new()
        return kept

    def _kept(self, quality: Quality, key: QualityKey) -> QualityKey:
        """The key, or the one that it counts under. What has once counted as OTHER does so ever after, also
        when there is room again: a part of its rows, or a correction alone, would say nothing about it."""
        if key in quality.sums:
            return key
        other = msgspec.structs.replace(key, slices=tuple((name, OTHER) for name, _ in key.slices))
        return other if other in quality.sums or len(quality.sums) >= self._most_keys else key


def _places(codes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Where each of the codes 0 to k - 1 stands."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def _add(sums: QualitySums, scores: Floats, came: Floats, without_outcome: int = 0) -> None:
    if isinstance(sums, ClassificationSums):
        sums.add(scores, came > 0, without_outcome)
    else:
        sums.add(scores, came, without_outcome)


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
