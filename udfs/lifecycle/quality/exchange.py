"""Sums as plain numbers by name, for messages in JSON, and back; and the message of one key."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StatisticsError
from schemas.lifecycle.quality import Kind, QualityRecord, Sums
from udfs.lifecycle.quality.classification import ClassificationSums
from udfs.lifecycle.quality.exact_sums import Rest
from udfs.lifecycle.quality.labels import LabelSums
from udfs.lifecycle.quality.many_classes import ManyClassesSums
from udfs.lifecycle.quality.regression import MOST_PLACE, RegressionSums
from udfs.lifecycle.quality.windows import KINDS, QualityKey, QualitySums, kind_of

_LISTED = frozenset({"error_counts", "rests", "classes", "confusion", "positives", "negatives", "score_sums"})
"""What is no number, and travels in lists."""
_MOST_RESTS = 64


def to_plain(sums: QualitySums) -> Sums:
    """Numbers by name. `bins` (of two classes): rows of bin, positives, negatives and sum of scores; of more
    classes their names are `classes`, each row begins with the place of its class, and `confusion` has rows
    of class said, class that came and count; of labels there are no `bins`. `errors` (of numbers): rows of
    bin and count. What has no records is left out. `rests`: what rounding left of the sums that are exact
    with it (`EXACT` of each kind), where it left anything."""
    plain: dict[str, Any] = {n: getattr(sums, n) for n in sums.__struct_fields__ if n not in _LISTED}
    if sums.rests:
        plain["rests"] = [list(sums.rests.get(name, ())) for name in sums.EXACT]
    if isinstance(sums, RegressionSums):
        return plain | {"errors": [[place, count] for place, count in sorted(sums.error_counts.items())]}
    if not isinstance(sums, LabelSums):
        plain["bins"] = _rows(sums.arrays)
    if not isinstance(sums, ClassificationSums):
        plain |= {"classes": list(sums.classes), "confusion": _rows([sums.confusion])}
    return plain


def _rows(arrays: list[NDArray[Any]]) -> list[list[int | float]]:
    """Places and values, where one of the arrays, which are of one shape, has something."""
    some = np.logical_or.reduce(arrays).nonzero()
    columns = [*some, *(array[some] for array in arrays)]
    return list(map(list, zip(*(column.tolist() for column in columns), strict=True)))


def _fill(arrays: list[NDArray[Any]], rows: Any) -> None:
    """The inverse. Raises `ValueError` for a place that is none."""
    columns, shape = list(zip(*rows, strict=True)), arrays[0].shape
    if not columns:
        return
    at, values = columns[: len(shape)], columns[len(shape) :]
    for places, length in zip(at, shape, strict=True):
        if odd := [place for place in places if not 0 <= place < length]:
            raise ValueError(f"there is no bin {odd[0]}")
    for array, column in zip(arrays, values, strict=True):
        array[tuple(map(list, at))] = column


def from_plain(kind: Kind, plain: Sums) -> QualitySums:
    """The inverse of `to_plain`. Raises `StatisticsError` for what is none."""
    try:
        numbers: Any = {name: value for name, value in plain.items() if not isinstance(value, list)}
        if listed := sorted(_LISTED.intersection(numbers)):
            raise ValueError(f"its {listed[0]} is a number")
        rests = _rests(plain, KINDS[kind])
        if kind == "numbers":
            told: Any = plain["errors"]
            errors = {int(place): int(count) for place, count in told}
            if odd := [place for place in errors if abs(place) > MOST_PLACE]:
                raise ValueError(f"there is no error in bin {odd[0]}")
            return RegressionSums(**numbers, error_counts=errors, rests=rests)
        if kind == "classes":
            of_two = ClassificationSums(**numbers, rests=rests)
            _fill(of_two.arrays, plain["bins"])
            return of_two
        several: type[LabelSums | ManyClassesSums] = LabelSums if kind == "labels" else ManyClassesSums
        sums = several(**numbers, rests=rests, classes=tuple(map(str, plain["classes"])))  # type: ignore[arg-type]
        _fill([sums.confusion], plain["confusion"])
        if isinstance(sums, ManyClassesSums):
            _fill(sums.arrays, plain["bins"])
        return sums
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as e:
        raise StatisticsError(f"these are no sums of {kind}: {e}") from None


def _rests(plain: Sums, kind: type[QualitySums]) -> dict[str, Rest]:
    """Raises `ValueError` for what is none."""
    found: Any = plain.get("rests", [()] * len(kind.EXACT))
    rests = {name: tuple(map(float, rest)) for name, rest in zip(kind.EXACT, found, strict=True)}
    if not all(len(rest) <= _MOST_RESTS and all(map(math.isfinite, rest)) for rest in rests.values()):
        raise ValueError("what rounding left of its sums is none")
    return {name: rest for name, rest in rests.items() if rest}


def added_up(records: Iterable[QualityRecord]) -> dict[str, float]:
    """The figures of all of them together, which are of predictions that no two of them share.

    Sums that do not add up with those told last, as they are of another kind, threshold or classes, or are
    none, are left out: they were counted under other settings.
    """
    whole: QualitySums | None = None
    for told in sorted(records, key=lambda one: one.at, reverse=True):
        with contextlib.suppress(StatisticsError, OverflowError):
            sums = from_plain(told.kind, told.sums)
            if whole is None:
                whole = sums
            elif type(whole) is type(sums):
                sums.merge(whole)  # type: ignore[arg-type]
                whole = sums  # what overflows half-way is thrown away
    return {} if whole is None else _finite(whole)


def quality_record(
    key: QualityKey, sums: QualitySums, window_ms: int, at: int, closed: bool = False
) -> QualityRecord:
    """The message of one key. `at`: epoch milliseconds."""
    return QualityRecord(
        data_type=key.data_type,
        window=key.window,
        window_ms=window_ms,
        model=key.model,
        version=key.version,
        plan=key.plan,
        plan_version=key.plan_version,
        experiment=key.experiment,
        arm=key.arm,
        candidate=key.candidate,
        slices=dict(key.slices),
        kind=kind_of(sums),
        figures=_finite(sums),
        sums=to_plain(sums),
        at=at,
        closed=closed,
    )


def _finite(sums: QualitySums) -> dict[str, float]:
    return {name: value for name, value in sums.figures().items() if math.isfinite(value)}
