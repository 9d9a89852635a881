"""PMML 4.4 text from fitted models, for what `millrace publish` and the demo export without a converter.

scikit-learn is not imported: only the public attributes of a fitted estimator are read.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_NAMESPACE = "http://www.dmg.org/PMML-4_4"


def linear_regression(coefficients: ArrayLike, intercept: float, fields: Sequence[str], target: str) -> str:
    """A RegressionModel: `intercept + coefficients @ row`, with `coefficients` of shape `(len(fields),)`."""
    root, model = _document("RegressionModel", "regression", fields, target, ())
    _table(model, np.asarray(coefficients, np.float64), float(intercept), fields)
    return _text(root)


def logistic_regression(
    coefficients: ArrayLike, intercepts: ArrayLike, fields: Sequence[str], classes: Sequence[Any], target: str
) -> str:
    """A classification RegressionModel, as scikit-learn's `coef_`, `intercept_` and `classes_` state it.

    `coefficients` has shape `(k, len(fields))`, with k the number of classes (softmax), or 1 for two classes
    (logit of the second one).
    """
    weights, biases = np.atleast_2d(np.asarray(coefficients, np.float64)), np.atleast_1d(intercepts)
    labels = _labels(classes)
    if len(labels) == 2 and len(weights) == 1:
        # Equal to the logit: a table of zeros stands for the first class.
        weights, biases = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, biases[0]])
    if len(weights) != len(labels) or len(biases) != len(labels):
        raise ValueError(f"{len(weights)} rows of coefficients for {len(labels)} classes")
    root, model = _document("RegressionModel", "classification", fields, target, labels)
    model.set("normalizationMethod", "softmax")
    for label, row, bias in zip(labels, weights, biases, strict=True):
        _table(model, row, float(bias), fields).set("targetCategory", label)
    return _text(root)


def decision_tree(tree: Any, fields: Sequence[str], classes: Sequence[Any], target: str) -> str:
    """A TreeModel of a fitted scikit-learn decision tree; empty `classes` for a regressor.

    scikit-learn compares `float32(x) <= threshold`; PMML compares doubles. The thresholds written are the
    largest doubles that scikit-learn sends to the left, so that every row takes the same way.
    """
    labels = _labels(classes)
    function = "classification" if labels else "regression"
    root, model = _document("TreeModel", function, fields, target, labels)
    model.set("missingValueStrategy", "nullPrediction")
    model.set("splitCharacteristic", "binarySplit")
    nodes = tree.tree_
    waiting: list[tuple[int, ET.Element, ET.Element]] = [(0, model, ET.Element("True"))]
    while waiting:
        index, parent, condition = waiting.pop()
        node = ET.SubElement(parent, "Node", id=str(index))
        node.append(condition)
        counts = nodes.value[index][0]
        node.set("score", labels[int(np.argmax(counts))] if labels else repr(float(counts[0])))
        samples = float(nodes.weighted_n_node_samples[index])
        for label, share in zip(labels, counts / counts.sum(), strict=True) if labels else ():
            attributes = {"recordCount": repr(float(share) * samples), "probability": repr(float(share))}
            ET.SubElement(node, "ScoreDistribution", {"value": label, **attributes})
        left, right = int(nodes.children_left[index]), int(nodes.children_right[index])
        if left != right:
            name, value = (
                fields[int(nodes.feature[index])],
                repr(_double_threshold(float(nodes.threshold[index]))),
            )
            ways = (("greaterThan", right), ("lessOrEqual", left))  # the last one pushed is written first
            for operator, child in ways:
                waiting.append(
                    (child, node, ET.Element("SimplePredicate", field=name, operator=operator, value=value))
                )
    return _text(root)


def _double_threshold(threshold: float) -> float:
    """The largest double x with `float32(x) <= threshold`, by rounding to nearest, ties to even."""
    below = np.float32(threshold)
    if float(below) > threshold:
        below = np.nextafter(below, np.float32(-np.inf))
    above = np.nextafter(below, np.float32(np.inf))
    middle = (float(below) + float(above)) / 2
    return middle if float(np.float32(middle)) <= threshold else float(np.nextafter(middle, -np.inf))


def _labels(classes: Sequence[Any]) -> list[str]:
    labels = [str(c) for c in classes]
    if len(set(labels)) != len(labels):
        raise ValueError(f"classes {labels} are not distinct as text")
    return labels


def _document(
    kind: str, function: str, fields: Sequence[str], target: str, labels: Sequence[str]
) -> tuple[ET.Element, ET.Element]:
    if len(set(fields)) != len(fields) or target in fields:
        raise ValueError(f"field names must be distinct, and none the target's: {list(fields)}, {target!r}")
    root = ET.Element("PMML", xmlns=_NAMESPACE, version="4.4")
    ET.SubElement(ET.SubElement(root, "Header"), "Application", name="millrace")
    dictionary = ET.SubElement(root, "DataDictionary")
    text = {"optype": "categorical", "dataType": "string"}
    number = {"optype": "continuous", "dataType": "double"}
    declared = ET.SubElement(dictionary, "DataField", {"name": target, **(text if labels else number)})
    for label in labels:
        ET.SubElement(declared, "Value", value=label)
    for name in fields:
        ET.SubElement(dictionary, "DataField", {"name": name, **number})
    model = ET.SubElement(root, kind, functionName=function)
    schema = ET.SubElement(model, "MiningSchema")
    ET.SubElement(schema, "MiningField", name=target, usageType="target")
    for name in fields:
        ET.SubElement(schema, "MiningField", name=name)
    output = ET.SubElement(model, "Output")
    ET.SubElement(output, "OutputField", {"name": f"predicted_{target}", "feature": "predictedValue",
                                          **(text if labels else number)})  # fmt: skip
    for label in labels:
        ET.SubElement(output, "OutputField", {"name": f"probability({label})", "feature": "probability",
                                              "value": label, **number})  # fmt: skip
    return root, model


def _table(model: ET.Element, row: NDArray[Any], intercept: float, fields: Sequence[str]) -> ET.Element:
    if row.shape != (len(fields),):
        raise ValueError(f"{row.shape} coefficients for {len(fields)} fields")
    table = ET.SubElement(model, "RegressionTable", intercept=repr(intercept))
    for name, weight in zip(fields, row, strict=True):
        ET.SubElement(table, "NumericPredictor", name=name, coefficient=repr(float(weight)))
    return table


def _text(root: ET.Element) -> str:
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode")
