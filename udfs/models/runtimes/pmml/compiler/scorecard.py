"""Scorecard: points for attributes, and the reasons for a low or a high score."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute
from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.elements import (
    choice,
    expression_of,
    flag,
    number,
    predicate_of,
    refuse,
)
from udfs.models.runtimes.pmml.compiler.expressions import Site, compile_expression, converted
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.predicates import Truth, compile_predicate, holds
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, number_column, numbers_of
from udfs.models.runtimes.pmml.compiler.types import Type


@dataclass(frozen=True, slots=True)
class _Attribute:
    condition: Truth
    points: float | Compute
    reason: int


@dataclass(frozen=True, slots=True)
class _Characteristic:
    attributes: tuple[_Attribute, ...]
    baseline: float

    def score(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Points, NaN where no attribute applies, and the index of the reason."""
        points, reasons = np.full(batch.count, np.nan), np.full(batch.count, -1, np.int64)
        left = np.ones(batch.count, bool)
        for attribute in self.attributes:
            here = holds(attribute.condition, batch) & left
            left &= ~here
            if isinstance(attribute.points, float):
                points[here] = attribute.points
            elif here.any():
                points[here] = numbers_of(attribute.points(batch), batch.count)[here]
            reasons[here] = attribute.reason
        return points, reasons


def compile_scorecard(place: Place) -> Scorer:
    """A Scorecard; reasons are ranked by how far points are from their baselines."""
    place.expect("regression")
    element = place.element
    use_reasons = flag(element, "useReasonCodes", True) and _has_reasons(element)
    choice(element, "baselineMethod", ("max", "min", "mean", "neutral", "other"), "other")
    above = (
        choice(element, "reasonCodeAlgorithm", ("pointsAbove", "pointsBelow"), "pointsBelow") == "pointsAbove"
    )
    codes: dict[str, int] = {}
    cards = [_characteristic(c, place, codes) for c in element.findall("Characteristics/Characteristic")]
    if not cards:
        refuse("a Scorecard has no characteristics")
    initial = number(element, "initialScore", 0.0)
    names = np.array([*codes, ""], object)
    baselines = np.array([c.baseline for c in cards])

    def score(batch: Batch) -> Result:
        found = [card.score(batch) for card in cards]
        points = np.array([p for p, _ in found])
        total = np.full(batch.count, initial)
        for row in points:
            total = total + row
        gaps = points - baselines[:, None] if above else baselines[:, None] - points
        reasons = np.array([r for _, r in found])

        ranked = cache(lambda: _ranked(gaps, reasons, len(codes)))

        def reason(rank: int) -> Column:
            lacking = np.isnan(total)
            at = ranked()[:, rank - 1] if rank <= len(codes) else -1
            return Column(names[np.where(lacking, -1, at)], lacking if lacking.any() else None)

        return Result(value=number_column(total), reasons=reason)

    return Scorer("regression", score, reasons=len(codes) if use_reasons else 0)


def _ranked(gaps: NDArray, reasons: NDArray, count: int) -> NDArray[np.int64]:
    """`(n, codes)`: the reason codes by the sum of their gaps, the largest and then the earliest first;
    -1 where there are no more. A code that stands for no attribute of the row, or for points that are better
    than their baselines, is no reason."""
    rows = gaps.shape[1]
    totals = np.zeros((rows, count))
    used = np.zeros((rows, count), bool)
    for gap, reason in zip(gaps, reasons, strict=True):
        known = np.flatnonzero(reason >= 0)
        totals[known, reason[known]] += gap[known]
        used[known, reason[known]] = True
    used &= totals >= 0
    order = np.argsort(np.where(used, -totals, np.inf), axis=1, kind="stable")
    return np.where(np.take_along_axis(used, order, axis=1), order, -1)


def _has_reasons(element: ET.Element) -> bool:
    """Whether each attribute has a reason code and a baseline; the score needs neither."""
    return all(
        (card.get("baselineScore") or element.get("baselineScore"))
        and all(a.get("reasonCode", card.get("reasonCode")) is not None for a in card.findall("Attribute"))
        for card in element.findall("Characteristics/Characteristic")
    )


def _characteristic(element: ET.Element, place: Place, codes: dict[str, int]) -> _Characteristic:
    attributes = []
    for attribute in element.findall("Attribute"):
        condition = compile_predicate(predicate_of(attribute), place.scope)
        complex_score = attribute.find("ComplexPartialScore")
        if complex_score is not None:
            made = compile_expression(expression_of(complex_score), Site(place.scope, wanted=Type.DOUBLE))
            points: float | Compute = converted(made, Type.DOUBLE, "a partial score").compute
        else:
            points = number(attribute, "partialScore")
        code = attribute.get("reasonCode", element.get("reasonCode"))
        attributes.append(_Attribute(condition, points, codes.setdefault(code or "", len(codes))))
    return _Characteristic(
        tuple(attributes), number(element, "baselineScore", number(place.element, "baselineScore", 0.0))
    )
