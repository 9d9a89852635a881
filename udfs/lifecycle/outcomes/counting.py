"""Quality from rows of the prediction store: the one way in which a stream and a batch count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa

from schemas.features.feature_block import TIMESTAMP
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
        groups: dict[QualityKey, list[_Scored]] = defaultdict(list)
        for key, scored in self._told_apart(rows):
            groups[key].append(scored)
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

    def _told_apart(self, rows: pa.RecordBatch) -> Iterator[tuple[QualityKey, _Scored]]:
        names = [*COUNTED, *self._judging.slices]
        for values in zip(*(rows.column(name).to_pylist() for name in names), strict=True):
            row = dict(zip(names, values, strict=True))
            if row["fate"] == OutcomeFate.OUTDATED.value:
                continue
            key = QualityKey(
                window=row[TIMESTAMP] // self._window_ms * self._window_ms,
                model="" if row[MODEL] == NO_MODEL else row[MODEL],
                version=row["version"],
                plan=row["plan"] or "",
                plan_version=row["plan_version"],
                data_type=self._data_type,
                slices=tuple(sorted((name, _text(row[name])) for name in self._judging.slices)),
            )
            first = row["fate"] in _FIRST
            rest = (row["outcome"], row["replaced"], first)
            yield key, (row["score"], *rest)
            for experiment, arm in _arms(row["experiments"]):
                of = msgspec.structs.replace(key, experiment=experiment, arm=arm)
                yield of, (row["score"], *rest)
            for candidate, version, scores in _answers(row["answers"]):
                of = msgspec.structs.replace(key, candidate=candidate, model="", version=version)
                yield of, (self._judging.score_of(scores), *rest)

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
            whole = version if isinstance(version, int) else 0
            yield name[:LONGEST], whole, scores if isinstance(scores, dict) else {}
