"""A second opinion on PMML: trees, ensembles, linear models and rules, row by row, from the standard's text.

It shares no code with the runtime. It reads the document as it was exported, before any mend, and evaluates
by the definitions of https://dmg.org/pmml/v4-4-1/ (TreeModel, MultipleModels, Regression,
GeneralRegression, RuleSet, Targets). What it does not know raises `NotImplementedError`.
"""

from __future__ import annotations

import math
import statistics
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

Row = Mapping[str, Any]
_COMPARE = {
    "equal": lambda a, b: a == b,
    "notEqual": lambda a, b: a != b,
    "lessThan": lambda a, b: a < b,
    "lessOrEqual": lambda a, b: a <= b,
    "greaterThan": lambda a, b: a > b,
    "greaterOrEqual": lambda a, b: a >= b,
}


@dataclass
class Result:
    """`value` is the predicted value, None where there is none; a class not listed has probability 0.

    `confidences`: of the classes, empty where none are told. `entity`: the id of the rule that decides.
    """

    value: Any = None
    probabilities: dict[str, float] = field(default_factory=dict)
    confidences: dict[str, float] = field(default_factory=dict)
    entity: str | None = None


def evaluate(text: str | bytes, row: Row) -> Result:
    """The result of the document's first model for one row; None and absent mean missing."""
    root = _parsed(text)
    model = next(e for e in root if e.tag.endswith("Model"))
    kinds = {f.get("name"): f.get("dataType") for f in root.findall("DataDictionary/DataField")}
    filled = {n: np.float32(v) if kinds.get(n) == "float" and v is not None else v for n, v in row.items()}
    for mining_field in model.findall("MiningSchema/MiningField"):
        name, replacement = mining_field.get("name"), mining_field.get("missingValueReplacement")
        if filled.get(name) is None and replacement is not None:
            filled[name] = _typed(filled, name, replacement, root)
    result = _model(model, filled)
    if result.value is not None and model.get("functionName") == "regression":
        result.value = _target(model, result.value)
    return result


def treated(text: str | bytes, row: Row) -> dict[str, Any] | None:
    """The row behind the mining schema of the document's model, None where that refuses it."""
    root = _parsed(text)
    model = next(e for e in root if e.tag.endswith("Model"))
    held = dict(row)
    for rule in model.findall("MiningSchema/MiningField"):
        name = rule.get("name", "")
        if rule.get("usageType", "active") != "active":
            continue
        declared = root.find(f"DataDictionary/DataField[@name='{name}']")
        assert declared is not None
        value, valid = held.get(name), True
        if value is not None:
            valid = _valid(declared, value)
            treatment = rule.get("invalidValueTreatment", "returnInvalid")
            if not valid and treatment == "returnInvalid":
                return None
            if not valid and treatment != "asIs":
                told = rule.get("invalidValueReplacement", "")
                value = None if treatment == "asMissing" else _typed(held, name, told, root)
        outliers = rule.get("outliers", "asIs")
        if value is not None and valid and outliers != "asIs":
            low, high = float(rule.get("lowValue", "-inf")), float(rule.get("highValue", "inf"))
            if not low <= value <= high:
                value = None if outliers == "asMissingValues" else min(max(value, low), high)
        told = rule.get("missingValueReplacement")
        held[name] = _typed(held, name, told, root) if value is None and told is not None else value
    return held


def _valid(declared: ET.Element, value: Any) -> bool:
    values = [v.get("value") for v in declared.findall("Value") if v.get("property", "valid") == "valid"]
    spans = [
        (float(i.get("leftMargin", "-inf")), float(i.get("rightMargin", "inf")))
        for i in declared.findall("Interval[@closure='closedClosed']")
    ]
    listed = not values or str(value) in values
    return listed and (not spans or any(low <= value <= high for low, high in spans))


@lru_cache(maxsize=4)
def _parsed(text: str | bytes) -> ET.Element:
    root = ET.fromstring(text)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _typed(row: Row, name: str | None, text: str, root: ET.Element) -> Any:
    kinds = {f.get("name"): f.get("dataType") for f in root.findall("DataDictionary/DataField")}
    if kinds.get(name) == "float":
        return np.float32(text)
    return float(text) if kinds.get(name) in ("double", "integer") else text


def _model(model: ET.Element, row: Row) -> Result:
    kind = {"TreeModel": _tree, "RegressionModel": _regression, "GeneralRegressionModel": _general,
            "MiningModel": _ensemble, "RuleSetModel": _rules}.get(model.tag)  # fmt: skip
    if kind is None:
        raise NotImplementedError(model.tag)
    return kind(model, row)


def _target(model: ET.Element, value: float) -> float:
    for target in model.findall("Targets/Target"):
        value = max(value, float(target.get("min", "-inf")))
        value = min(value, float(target.get("max", "inf")))
        value = value * float(target.get("rescaleFactor", "1")) + float(target.get("rescaleConstant", "0"))
        cast = {
            "round": lambda v: math.floor(v) + (v - math.floor(v) >= 0.5),
            "ceiling": math.ceil,
            "floor": math.floor,
        }
        if target.get("castInteger") is not None:
            value = float(cast[target.get("castInteger", "")](value))
    return value


def predicate(element: ET.Element, row: Row) -> bool | None:  # noqa: PLR0911 - one for each case
    """TRUE, FALSE or, as None, UNKNOWN."""
    if element.tag in ("True", "False"):
        return element.tag == "True"
    if element.tag == "CompoundPredicate":
        results = [predicate(e, row) for e in element]
        operator = element.get("booleanOperator")
        if operator == "surrogate":
            return next((r for r in results if r is not None), None)
        if operator == "xor":
            return None if None in results else sum(map(bool, results)) % 2 == 1
        decisive = operator == "or"
        if decisive in results:
            return decisive
        return None if None in results else not decisive
    value = row.get(element.get("field", ""))
    if element.tag == "SimpleSetPredicate":
        array = element.find("Array")
        assert array is not None
        return (
            None
            if value is None
            else (value in (array.text or "").split()) == (element.get("booleanOperator") == "isIn")
        )
    if element.tag != "SimplePredicate":
        raise NotImplementedError(element.tag)
    operator = element.get("operator", "")
    if operator in ("isMissing", "isNotMissing"):
        return (value is None) == (operator == "isMissing")
    if value is None:
        return None
    constant: Any = element.get("value", "")
    if isinstance(value, np.float32):  # a float field is compared with floats
        return bool(_COMPARE[operator](value, np.float32(constant)))
    if isinstance(value, bool):
        return _COMPARE[operator](value, constant == "true")
    return _COMPARE[operator](value, constant if isinstance(value, str) else float(constant))


def _condition(node: ET.Element) -> ET.Element:
    return next(e for e in node if e.tag in ("True", "False") or e.tag.endswith("Predicate"))


def _tree(model: ET.Element, row: Row) -> Result:  # noqa: PLR0911 - one for each case
    strategy = model.get("missingValueStrategy", "none")
    node = model.find("Node")
    assert node is not None
    if predicate(_condition(node), row) is not True:
        return Result()
    if strategy == "aggregateNodes":
        return _aggregated(node, model, row)
    if strategy == "weightedConfidence":
        confidences = _confidences(node, model, row)
        if confidences is None:
            return Result()
        return Result(max(confidences, key=confidences.__getitem__), {}, confidences)
    while node.findall("Node"):
        following = None
        for child in node.findall("Node"):
            state = predicate(_condition(child), row)
            if state is None and strategy != "none":
                if strategy == "lastPrediction":
                    return _leaf(node, model)
                if strategy == "nullPrediction":
                    return Result()
                if strategy != "defaultChild":
                    raise NotImplementedError(strategy)
                following = next(c for c in node.findall("Node") if c.get("id") == node.get("defaultChild"))
                break
            if state:
                following = child
                break
        if following is None:
            last = model.get("noTrueChildStrategy") == "returnLastPrediction"
            return _leaf(node, model) if last else Result()
        node = following
    return _leaf(node, model)


def _by_state(node: ET.Element, row: Row) -> tuple[list[ET.Element], list[ET.Element]]:
    """The children that a row may go on to, up to the first that is certain; and all not ruled out."""
    states = [(child, predicate(_condition(child), row)) for child in node.findall("Node")]
    possible = [(child, state) for child, state in states if state is not False]
    certain = next((k for k, (_, state) in enumerate(possible) if state), len(possible))
    return [child for child, _ in possible[: certain + 1]], [child for child, _ in possible]


def _aggregated(root: ET.Element, model: ET.Element, row: Row) -> Result:
    """One virtual leaf out of all that the row may reach; None of them may be without a prediction."""
    waiting, ends, doubtful = [root], [], False
    while waiting:
        node = waiting.pop()
        ways, _ = _by_state(node, row)
        doubtful |= any(predicate(_condition(child), row) is None for child in ways)
        if ways:
            waiting += ways
        elif not node.findall("Node") or model.get("noTrueChildStrategy") == "returnLastPrediction":
            ends.append(node)
        else:
            return Result()
    if not doubtful:
        return _leaf(ends[0], model)
    counts: dict[str, float] = {}
    for entry in (e for node in ends for e in node.findall("ScoreDistribution")):
        value = entry.get("value", "")
        counts[value] = counts.get(value, 0.0) + float(entry.get("recordCount", "nan"))
    shares = {value: count / sum(counts.values()) for value, count in counts.items()}
    return Result(max(shares, key=shares.__getitem__), shares)


def _confidences(node: ET.Element, model: ET.Element, row: Row) -> dict[str, float] | None:
    """Those of a node, scored by what is below it; None where there is no prediction."""
    _, possible = _by_state(node, row)
    if not possible:
        if node.findall("Node") and model.get("noTrueChildStrategy") != "returnLastPrediction":
            return None
        entries = node.findall("ScoreDistribution")
        return {e.get("value", ""): float(e.get("confidence", "nan")) for e in entries}
    if predicate(_condition(possible[0]), row):
        return _confidences(possible[0], model, row)
    total: dict[str, float] = {}
    records = sum(_records(child) for child in possible)
    for child in possible:
        scored = _confidences(child, model, row)
        if scored is None:
            return None
        for value, confidence in scored.items():
            total[value] = total.get(value, 0.0) + confidence * _records(child) / records
    return total


def _records(node: ET.Element) -> float:
    told = node.get("recordCount")
    return (
        float(told)
        if told
        else sum(float(e.get("recordCount", "nan")) for e in node.findall("ScoreDistribution"))
    )


def _leaf(node: ET.Element, model: ET.Element) -> Result:
    score = node.get("score")
    if score is None:
        return Result()
    if model.get("functionName") == "regression":
        return Result(float(score))
    entries = node.findall("ScoreDistribution")
    total = sum(float(e.get("recordCount", "0")) for e in entries)
    shares = {
        e.get("value", ""): float(e.get("probability") or float(e.get("recordCount", "0")) / total)
        for e in entries
    }
    return Result(score, shares)


def _ensemble(model: ET.Element, row: Row) -> Result:  # noqa: PLR0911 - one for each case
    segmentation = model.find("Segmentation")
    assert segmentation is not None
    method = segmentation.get("multipleModelMethod", "")
    results, weights = [], []
    for segment in segmentation.findall("Segment"):
        if predicate(_condition(segment), row):
            result = _model(segment[-1], row)
            if method == "selectFirst":
                return result
            if method == "modelChain":
                row = {**row, **_outputs(segment[-1], result)}
            results.append(result)
            weights.append(float(segment.get("weight", "1")))
    if method == "modelChain":
        return results[-1] if results else Result()
    if not method.startswith("weighted"):
        weights = [1.0] * len(results)
    lost = sum(w for r, w in zip(results, weights, strict=True) if r.value is None)
    total = sum(weights)
    kept = [(r, w) for r, w in zip(results, weights, strict=True) if r.value is not None]
    if not kept or (lost and not _goes_on(segmentation, lost / total)):
        return Result()
    if model.get("functionName") == "classification":
        combined = _voted(kept, method)
        continued = segmentation.get("missingPredictionTreatment", "continue") == "continue"
        if continued and lost > max(combined.values()) * (total - lost):
            return Result()  # most votes are for there being no prediction
        return Result(max(combined, key=combined.__getitem__), combined)
    values, counted = [r.value for r, _ in kept], [w for _, w in kept]
    weighted = sum(v * w for v, w in zip(values, counted, strict=True))
    if method in ("average", "weightedAverage", "weightedSum"):
        return Result(weighted / (1 if method == "weightedSum" else sum(counted)))
    return Result({"sum": sum, "median": statistics.median, "max": max}[method](values))


def _goes_on(segmentation: ET.Element, lost: float) -> bool:
    """Whether there is a result although a share of the segments has none."""
    treatment = segmentation.get("missingPredictionTreatment", "continue")
    voting = segmentation.get("multipleModelMethod", "").endswith("Vote")
    if treatment == "returnMissing" or (treatment == "continue" and not voting):
        return False
    return lost <= float(segmentation.get("missingThreshold", "1"))


def _voted(kept: list[tuple[Result, float]], method: str) -> dict[str, float]:
    """The categories' shares of the votes, or their mean probabilities."""
    combined: dict[str, float] = {}
    total = sum(weight for _, weight in kept)
    for result, weight in kept:
        votes = {result.value: 1.0} if method.lower().endswith("vote") else result.probabilities
        for name, share in votes.items():
            combined[name] = combined.get(name, 0.0) + weight * share / total
    return combined


def _outputs(model: ET.Element, result: Result) -> dict[str, Any]:
    """What a segment of a chain hands on."""
    told = {}
    for output in model.findall("Output/OutputField"):
        feature = output.get("feature", "predictedValue")
        if feature == "confidence":
            asked = output.get("value", result.value)
            told[output.get("name", "")] = result.confidences.get(asked)
        else:
            told[output.get("name", "")] = {
                "predictedValue": result.value, "entityId": result.entity,
            }[feature]  # fmt: skip
    return told


def _firing(rules: ET.Element, row: Row) -> list[ET.Element]:
    """The simple rules that fire, in order."""
    found: list[ET.Element] = []
    for rule in rules:
        if rule.tag in ("SimpleRule", "CompoundRule") and predicate(_condition(rule), row) is True:
            found += [rule] if rule.tag == "SimpleRule" else _firing(rule, row)
    return found


def _rules(model: ET.Element, row: Row) -> Result:
    result = _decided(model, row)
    if model.get("functionName") == "regression" and result.value is not None:
        told = {float(value): sure for value, sure in result.confidences.items()}
        return Result(float(result.value), {}, told, result.entity)
    return result


def _decided(model: ET.Element, row: Row) -> Result:
    rules = model.find("RuleSet")
    method = model.find("RuleSet/RuleSelectionMethod")
    assert rules is not None and method is not None
    firing = _firing(rules, row)
    if not firing:
        value, sure = rules.get("defaultScore"), rules.get("defaultConfidence")
        return Result(value, {}, {value: float(sure)} if value is not None and sure is not None else {})
    if method.get("criterion") == "weightedSum":
        sums: dict[Any, float] = {}
        for rule in firing:
            score: Any = rule.get("score", "")
            if model.get("functionName") == "regression":
                score = float(score)
            sums[score] = sums.get(score, 0.0) + float(rule.get("weight", "1"))
        best = [score for score in sums if sums[score] == max(sums.values())]
        if len(best) > 1:
            raise NotImplementedError("equal sums")
        return Result(best[0], {}, {best[0]: sums[best[0]] / len(firing)})
    decides = firing[0]
    if method.get("criterion") == "weightedMax":
        decides = max(firing, key=lambda rule: float(rule.get("weight", "1")))
    sure = float(decides.get("confidence", "1"))
    return Result(decides.get("score"), {}, {decides.get("score", ""): sure}, decides.get("id"))


def _exp(y: float) -> float:
    return math.exp(y) if y < 700 else math.inf if y > 0 else y


_LINKS = {
    "none": lambda y: y, "logit": lambda y: 1 / (1 + _exp(-y)), "softmax": lambda y: 1 / (1 + _exp(-y)),
    "exp": _exp, "probit": statistics.NormalDist().cdf, "cloglog": lambda y: 1 - math.exp(-_exp(y)),
    "loglog": lambda y: math.exp(-_exp(-y)), "cauchit": lambda y: 0.5 + math.atan(y) / math.pi,
}  # fmt: skip


def _regression(model: ET.Element, row: Row) -> Result:
    normal = model.get("normalizationMethod", "none")
    sums = []
    for table in model.findall("RegressionTable"):
        total = _table(table, row)
        if total is None or math.isnan(total):
            return Result()
        sums.append(total)
    if model.get("functionName") == "regression":
        return Result(_LINKS[normal](sums[0]))
    names = [table.get("targetCategory", "") for table in model.findall("RegressionTable")]
    target = next(f for f in model.findall("MiningSchema/MiningField") if f.get("usageType") == "target")
    ordinal = row.get("optypes", {}).get(target.get("name")) == "ordinal"
    shares = _shares(normal, sums, ordinal)
    if not all(map(math.isfinite, shares)) or (ordinal and min(shares) < 0):
        return Result()
    told = dict(zip(names, shares, strict=True))
    return Result(max(told, key=told.__getitem__), told)


def _shares(normal: str, sums: list[float], ordinal: bool) -> list[float]:
    """The probabilities of categories, as the table of normalisation methods has them."""
    if normal == "softmax":
        raised = [math.exp(y - max(sums)) for y in sums]
        return [y / sum(raised) for y in raised]
    if normal == "simplemax":
        return [y / sum(sums) if sum(sums) else math.nan for y in sums]
    found = [_LINKS[normal](y) for y in sums[:-1]]
    if ordinal:
        return [b - a for a, b in zip([0.0, *found], [*found, 1.0], strict=True)]
    if len(sums) == 2:
        found = [min(max(found[0], 0.0), 1.0)]
    return [*found, 1 - sum(found)]


def _table(table: ET.Element, row: Row) -> float | None:
    total = float(table.get("intercept", "0"))
    for term in table:
        value = row.get(term.get("name", ""))
        if term.tag == "NumericPredictor":
            if value is None:
                return None
            try:
                total += float(term.get("coefficient", "0")) * float(value) ** int(term.get("exponent", "1"))
            except ZeroDivisionError:
                total += float(term.get("coefficient", "0")) * math.inf
        elif term.tag == "CategoricalPredictor":
            total += (
                float(term.get("coefficient", "0"))
                if value is not None and str(value) == term.get("value")
                else 0.0
            )
        elif term.tag == "PredictorTerm":
            factors = [row.get(f.get("field", "")) for f in term]
            if None in factors:
                return None
            total += float(term.get("coefficient", "0")) * math.prod(float(v) for v in factors)
        else:
            raise NotImplementedError(term.tag)
    return total


def _general(model: ET.Element, row: Row) -> Result:
    factors = {p.get("name"): 1.0 for p in model.findall("ParameterList/Parameter")}
    for cell in model.findall("PPMatrix/PPCell"):
        value = row.get(cell.get("predictorName", ""))
        if value is None:
            return Result()
        factors[cell.get("parameterName")] *= value ** float(cell.get("value", "1"))
    total = sum(
        float(c.get("beta", "0")) * factors[c.get("parameterName")]
        for c in model.findall("ParamMatrix/PCell")
    )
    link = model.get("linkFunction", "identity")
    inverse = {"identity": lambda x: x, "log": math.exp, "logit": lambda x: 1 / (1 + math.exp(-x))}
    return Result(inverse[link](total))
