"""What of PMML is known to be scored right by PMML4S, once mended; the rest is refused with its reason.

Known means: compared with the independent evaluator in the tests, or settled by the evaluator's source.
That source shows, among others: `xor` always answers false, a root node's predicate is never looked at,
a sibling whose predicate is true wins over an earlier unknown one, `max` and weighted votes give other
probabilities than the standard's, and unknown categories of an undeclared field count as missing.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from udfs.models.runtimes.pmml.document import Document, Field, mining_fields
from udfs.models.runtimes.pmml.forest import AVERAGING
from udfs.models.runtimes.pmml.proof_terms import (
    mining_schema_reasons,
    predicate_reasons,
    regression_reasons,
    same_field_split,
)

METHODS = {
    "classification": AVERAGING | {"majorityVote"},
    "regression": frozenset({"average", "weightedAverage", "sum", "median"}),
}
_MISSING = {"none", "lastPrediction", "nullPrediction", "defaultChild"}
_FEATURES = {"predictedValue", "probability"}
_NODE_PARTS = {"True", "False", "SimplePredicate", "SimpleSetPredicate", "CompoundPredicate"}


def unproven(document: Document) -> tuple[str, ...]:
    """The reasons for which the document cannot be shown to be scored right; empty: it can."""
    return tuple(dict.fromkeys(_reasons(document)))


def missing_allowed(document: Document) -> bool:
    """Whether a missing input is known to be treated as the standard says.

    PMML4S goes on to the siblings of a node whose predicate is unknown; the standard stops there. The two
    agree where all children of a node ask the same field, and where the strategy is `none`. PMML4S also
    lets `returnLastPrediction`, which is for nodes without a true child, overrule `nullPrediction`.
    """
    for tree in document.model.iter("TreeModel"):
        strategy = tree.get("missingValueStrategy", "none")
        if strategy == "none":
            continue
        if strategy == "nullPrediction" and tree.get("noTrueChildStrategy") == "returnLastPrediction":
            return False
        if not all(same_field_split(node) for node in tree.iter("Node")):
            return False
    return (
        document.model.find(".//CategoricalPredictor") is None
        and document.model.tag != "GeneralRegressionModel"
    )


def _reasons(document: Document) -> Iterator[str]:
    model, function = document.model, document.model.get("functionName", "")
    if model.tag not in ("TreeModel", "RegressionModel", "GeneralRegressionModel", "MiningModel"):
        yield f"{model.tag} has not been compared with a second evaluator"
        return
    if function not in METHODS:
        yield f"function {function!r} is neither classification nor regression"
        return
    if next(document.root.iter("LocalTransformations"), None) is not None:
        yield "it has local transformations"
    if document.root.find("TransformationDictionary/*") is not None:
        yield "it has a transformation dictionary"
    yield from mining_schema_reasons(document)
    classes: tuple[str, ...] = ()
    if function == "classification":
        if len(document.targets) != 1 or not document.targets[0].values:
            yield "the target does not declare its values"
            return
        classes = document.targets[0].values
        if len(set(classes)) != len(classes):
            yield "the target declares a value twice"
    elif len(document.targets) > 1:
        yield "it has several targets"
    yield from _result(document, classes)
    fields = {f.name: f for f in document.active}
    if model.tag == "TreeModel":
        yield from _tree(model, function, classes, fields)
        if document.outputs and any(f.get("feature") == "probability" for f in document.outputs):
            yield from _distributions(model)
    elif model.tag == "MiningModel":
        yield from _ensemble(model, function, classes, fields)
    else:
        yield from regression_reasons(model, classes, fields, document)


def _result(document: Document, classes: tuple[str, ...]) -> Iterator[str]:
    for output in document.outputs:
        feature = output.get("feature", "predictedValue")
        if feature not in _FEATURES or output.get("segmentId") or len(output):
            yield f"output {output.get('name')!r} is of a kind ({feature}) that has not been compared"
        elif feature == "probability" and output.get("value", classes[0] if classes else "") not in classes:
            yield f"output {output.get('name')!r} asks for a class that the target does not declare"
    for target in document.model.findall("Targets/Target"):
        values = tuple(v.get("value", "") for v in target.findall("TargetValue"))
        if classes and values != classes:
            yield "its Targets do not list the target's declared values in their order"
        if not classes and (values or target.get("castInteger")):
            yield "its Targets have default values or cast to integers"
        if target.get("optype"):
            yield "its Targets change the target's optype"


def _ensemble(
    model: ET.Element, function: str, classes: tuple[str, ...], fields: dict[str, Field]
) -> Iterator[str]:
    segmentation = model.find("Segmentation")
    if segmentation is None:
        yield "the mining model has no segmentation"
        return
    method = segmentation.get("multipleModelMethod", "")
    if method not in METHODS[function]:
        yield f"the combination method {method!r} of {function} models is not proven (a chain, a choice, ...)"
        return
    if segmentation.get("missingPredictionTreatment", "continue") == "skipSegment":
        yield "it skips segments without a prediction"
    layouts = set()
    for segment in segmentation.findall("Segment"):
        child = segment[-1] if len(segment) else segment
        if child.tag == "MiningModel":
            yield "it is a nested ensemble"
            continue
        if child.tag != "TreeModel" or child.get("functionName") != function:
            yield f"it combines {child.tag} ({child.get('functionName')}), proven are {function} trees"
            continue
        if [e.tag for e in segment] != ["True", "TreeModel"]:
            yield "a segment has a condition or a weight of its own"
        if float(segment.get("weight", "1")) <= 0:
            yield "a segment's weight is not positive"
        yield from _child(child, fields, method, classes)
        layouts.add(tuple((f.get("feature"), f.get("value")) for f in child.findall("Output/OutputField")))
        yield from _tree(child, function, classes, fields)
        if method in AVERAGING and function == "classification":
            yield from _distributions(child)
    if len(layouts) > 1:
        yield "the children declare different outputs"
    if not layouts:
        yield "the ensemble has no children"


def _child(
    child: ET.Element, fields: dict[str, Field], method: str, classes: tuple[str, ...]
) -> Iterator[str]:
    if child.find("Targets") is not None:
        yield "a child has Targets of its own"
    for field in mining_fields(child):
        treated = set(field.attrib) - {"name", "usageType", "importance", "optype"}
        if field.get("usageType", "active") == "active" and (treated or field.get("name") not in fields):
            yield f"a child treats field {field.get('name')!r} in its own way"
    outputs = child.findall("Output/OutputField")
    listed = [f.get("value") for f in outputs if f.get("feature") == "probability"]
    if outputs and (method not in AVERAGING or not classes or sorted(map(str, listed)) != sorted(classes)):
        yield "a child has partial outputs"


def _distributions(tree: ET.Element) -> Iterator[str]:
    for node in tree.iter("Node"):
        if node.find("Node") is None and node.find("ScoreDistribution") is None:
            yield "a leaf gives no class distribution although probabilities are asked for"


def _tree(
    tree: ET.Element, function: str, classes: tuple[str, ...], fields: dict[str, Field]
) -> Iterator[str]:
    strategy = tree.get("missingValueStrategy", "none")
    if strategy not in _MISSING:
        yield f"missing value strategy {strategy!r} is not proven"
    if float(tree.get("missingValuePenalty", "1")) != 1:
        yield "it has a missing value penalty"
    if tree.get("isScorable", "true") != "true":
        yield "it says that it must not be scored"
    root = tree.find("Node")
    if root is None or root.find("True") is None:
        yield "the root node has a condition (or there is none), which is not evaluated"
        return
    shapes = set()
    for node in tree.iter("Node"):
        parts = [e for e in node if e.tag not in ("Node", "ScoreDistribution", "Partition")]
        if len(parts) != 1 or parts[0].tag not in _NODE_PARTS:
            yield "a node holds an embedded model or no single predicate"
            continue
        yield from predicate_reasons(parts[0], fields)
        children = node.findall("Node")
        named = node.get("defaultChild") in {c.get("id") for c in children}
        if strategy == "defaultChild" and children and not named:
            yield "a node names no default child"
        if not children:
            shapes.add(node.find("ScoreDistribution") is None)
            if node.get("score") is None:
                yield "a leaf has no score"
        if function == "regression":
            continue
        if node.get("score") is not None and node.get("score") not in classes:
            yield f"a node scores {node.get('score')!r}, which the target does not declare"
        yield from _counts(node, classes)
    if function == "classification" and len(shapes) > 1:
        yield "some leaves give a class distribution and others none"


def _counts(node: ET.Element, classes: tuple[str, ...]) -> Iterator[str]:
    entries = node.findall("ScoreDistribution")
    if not entries:
        return
    listed = [e.get("value") for e in entries]
    if not set(listed) <= set(classes) or len(set(listed)) != len(listed):
        yield "a class distribution lists a class twice or one that the target does not declare"
    given = sum(e.get("probability") is not None for e in entries)
    if given not in (0, len(entries)):
        yield "a class distribution gives probabilities for some classes only"
    if (
        not given
        and sum(float(e.get("recordCount", "0")) for e in entries) <= 0
        and node.find("Node") is None
    ):
        yield "a leaf's class distribution is empty"
