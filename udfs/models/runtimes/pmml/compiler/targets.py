"""Targets: what becomes of a predicted value before it is a result."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.columns import half_up
from udfs.models.runtimes.pmml.compiler.elements import choice, describe, number, refuse, text_of, to_number
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, number_column, numbers_of
from udfs.models.runtimes.pmml.compiler.types import Type, float32

_CASTS: dict[str, Callable[[NDArray], NDArray]] = {
    "round": half_up, "ceiling": np.ceil, "floor": np.floor,
}  # fmt: skip


def with_targets(scorer: Scorer, element: ET.Element) -> Scorer:
    """The scorer with the model's Targets applied, if it has any, each to the target that it names."""
    treated: set[str | None] = set()
    for target in element.findall("Targets/Target"):
        field = target.get("field")
        if field in treated:
            refuse(f"{describe(element)} treats the target {field!r} twice")
        treated.add(field)
        if field is not None and field in scorer.by_target:
            others = scorer.by_target | {field: _treated(scorer.by_target[field], target)}
            scorer = replace(scorer, by_target=others)
        elif field in (None, scorer.target) or scorer.target is None:
            scorer = _treated(scorer, target)
        else:
            refuse(f"the Target {field!r} of {describe(element)} is not its target")
    if len(treated) > 1 + len(scorer.by_target):
        refuse(f"{describe(element)} treats more targets than it has")
    return scorer


def _treated(scorer: Scorer, target: ET.Element) -> Scorer:
    return _of_number(scorer, target) if scorer.function == "regression" else _of_categories(scorer, target)


def display_values(element: ET.Element) -> dict[str, dict[str, str]]:
    """What the Targets of a model call its categories, by target; the empty text for one without a name."""
    return {
        t.get("field", ""): {
            v.get("value", ""): v.get("displayValue", "")
            for v in t.findall("TargetValue")
            if v.get("displayValue") is not None
        }
        for t in element.findall("Targets/Target")
    }


def _of_categories(scorer: Scorer, target: ET.Element) -> Scorer:
    for name in ("castInteger", "min", "max", "rescaleConstant", "rescaleFactor"):
        if target.get(name) is not None:
            refuse(f"{describe(target)} has {name} and is no number")
    priors: dict[int, float] = {}
    for value in target.findall("TargetValue"):
        if value.get("defaultValue") is not None:
            refuse(f"{describe(target)} has a default value and is no number")
        if value.get("priorProbability") is not None:
            name = text_of(value, "value")
            if name not in scorer.categories:
                refuse(f"{describe(target)} gives a prior for {name!r}, which the model does not predict")
            priors[scorer.categories.index(name)] = number(value, "priorProbability")
    if not priors:
        return scorer
    row = np.array([priors.get(k, 0.0) for k in range(len(scorer.categories))])
    best, inner = int(np.argmax(row)), scorer.score

    def score(batch: Batch) -> Result:
        """Where the model has no prediction, the priors are the result."""
        result = inner(batch)
        assert result.label is not None
        lacking = result.label < 0
        if not lacking.any():
            return result
        probabilities = result.probabilities
        if probabilities is not None:
            probabilities = np.where(lacking[:, None], row, probabilities)
        return replace(result, label=np.where(lacking, best, result.label), probabilities=probabilities)

    return replace(scorer, score=score)


def _of_number(scorer: Scorer, target: ET.Element) -> Scorer:
    default: float | None = None
    for value in target.findall("TargetValue"):
        if value.get("priorProbability") is not None or value.get("value") is not None:
            refuse(f"{describe(target)} lists values and is a number")
        default = number(value, "defaultValue")
    low, high = target.get("min"), target.get("max")
    if any(text is not None and not np.isfinite(to_number(text)) for text in (low, high)):
        refuse(f"{describe(target)} has a bound that is no number")
    factor, shift = _in(scorer, target, "rescaleFactor", "1"), _in(scorer, target, "rescaleConstant", "0")
    cast = target.get("castInteger")
    if cast is not None:
        choice(target, "castInteger", tuple(_CASTS))
    inner = scorer.score

    def score(batch: Batch) -> Result:
        result = inner(batch)
        assert result.value is not None
        values = numbers_of(result.value, batch.count)
        if default is not None:
            values = np.where(np.isnan(values), values.dtype.type(default), values)
        if low is not None:
            values = np.maximum(values, values.dtype.type(float(low)))
        if high is not None:
            values = np.minimum(values, values.dtype.type(float(high)))
        values = values * factor + shift
        if cast is not None:
            values = _CASTS[cast](values.astype(np.float64))
        return replace(result, value=number_column(values))

    return replace(scorer, score=score, kind=Type.DOUBLE if cast is not None else scorer.kind)


def _in(scorer: Scorer, target: ET.Element, name: str, default: str) -> np.floating:
    number(target, name, 0.0)
    said = target.get(name, default)
    return float32(said) if scorer.kind is Type.FLOAT else np.float64(said)
