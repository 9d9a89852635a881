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


def _ensemble(model: ET.Element, row: Row) -> Result:
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
    if not results or any(r.value is None for r in results):
        return Result()
    if not method.startswith("weighted"):
        weights = [1.0] * len(results)
    total = sum(weights)
    if model.get("functionName") == "classification":
        combined: dict[str, float] = {}
        for result, weight in zip(results, weights, strict=True):
            votes = {result.value: 1.0} if method.lower().endswith("vote") else result.probabilities
            for name, share in votes.items():
                combined[name] = combined.get(name, 0.0) + weight * share / total
        return Result(max(combined, key=combined.__getitem__), combined)
    values = [r.value for r in results]
    if method in ("average", "weightedAverage"):
        return Result(sum(v * w for v, w in zip(values, weights, strict=True)) / total)
    if method in ("sum", "median"):
        return Result(math.fsum(values) if method == "sum" else statistics.median(values))
    raise NotImplementedError(method)


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


def _regression(model: ET.Element, row: Row) -> Result:
    normal = model.get("normalizationMethod", "none")
    sums = {}
    for number, table in enumerate(model.findall("RegressionTable")):
        total = _table(table, row)
        if total is None:
            return Result()
        sums[table.get("targetCategory", str(number))] = total
    if model.get("functionName") == "regression":
        (total,) = sums.values()
        if normal in ("softmax", "logit"):
            return Result(1 / (1 + math.exp(-total)))
        return Result(math.exp(total) if normal == "exp" else total)
    if normal == "softmax":
        top = max(sums.values())
        raised = {k: math.exp(v - top) for k, v in sums.items()}
        shares = {k: v / sum(raised.values()) for k, v in raised.items()}
    elif normal == "logit" and len(sums) == 2:
        (first, total), (second, _) = sums.items()
        shares = {first: 1 / (1 + math.exp(-total)), second: 1 / (1 + math.exp(total))}
    else:
        raise NotImplementedError(normal)
    return Result(max(shares, key=shares.__getitem__), shares)


def _table(table: ET.Element, row: Row) -> float | None:
    total = float(table.get("intercept", "0"))
    for term in table:
        value = row.get(term.get("name", ""))
        if term.tag == "NumericPredictor":
            if value is None:
                return None
            total += float(term.get("coefficient", "0")) * value ** float(term.get("exponent", "1"))
        elif term.tag == "CategoricalPredictor":
            total += float(term.get("coefficient", "0")) if value == term.get("value") else 0.0
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
