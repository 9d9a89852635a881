"""What PMML4S gets wrong in classification trees and their ensembles, and what mends it at load.

PMML4S reads a child's probabilities by column, in the columns of the *first* child, and lays out a
child's columns after that child's own first leaf unless the child names its target. It takes a class
that a leaf does not list for NaN. So a class absent from a leaf spoils the average, and a first leaf
that lists other classes, another order or confidences permutes the columns, silently. After `mend`
every tree names the target, every node lists every class (a zero count where it had none), and no
child of an ensemble carries confidences, which no combination method reads.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Iterator

AVERAGING = frozenset({"average", "weightedAverage"})
_TARGETS = {"target", "predicted"}


def target_name(model: ET.Element) -> str | None:
    for field in model.findall("MiningSchema/MiningField"):
        if field.get("usageType") in _TARGETS:
            return field.get("name")
    return None


def class_list(root: ET.Element, target: str | None) -> tuple[str, ...]:
    """The classes that the data dictionary declares for the target, in order."""
    for field in root.findall("DataDictionary/DataField"):
        if field.get("name") == target:
            values = field.findall("Value")
            return tuple(v.get("value", "") for v in values if v.get("property", "valid") == "valid")
    return ()


def faults(root: ET.Element) -> tuple[str, ...]:
    """What PMML4S would mis-score in the averaging ensembles of `root` as it stands, in words."""
    found: list[str] = []
    for ensemble in root.iter("MiningModel"):
        segmentation = ensemble.find("Segmentation")
        if segmentation is None or segmentation.get("multipleModelMethod") not in AVERAGING:
            continue
        trees = [t for t in segmentation.findall("Segment/TreeModel") if _classifies(t)]
        classes = class_list(root, target_name(ensemble))
        orders = [_columns(root, tree) for tree in trees]
        if any(set(o) < set(classes) for o in orders):
            found.append("a child's columns lack a class")
        if len(set(orders)) > 1:
            found.append("children lay out their columns differently, so that classes are permuted")
        lacking = sum(1 for t in trees for n in _leaves(t) if set(_listed(n)) < set(classes))
        if lacking:
            found.append(f"{lacking} leaves do not list every class, which counts as NaN")
    return tuple(found)


def mend(root: ET.Element) -> ET.Element:
    """A copy of `root` that PMML4S scores as the standard says; the models must have been proven first.

    Works on every classification tree, alone or in an ensemble, and makes the ensembles return a
    missing result where a child has none (`continue`, the default, leaves it out or sorts NaN).
    """
    mended = copy.deepcopy(root)
    for model in [e for e in mended if e.tag in ("TreeModel", "MiningModel")]:
        target = target_name(model)
        classes = class_list(mended, target)
        for tree in model.iter("TreeModel"):
            child = tree is not model
            if child and target and target_name(tree) is None and _classifies(tree):
                schema = tree.find("MiningSchema")
                if schema is not None:
                    schema.insert(0, ET.Element("MiningField", name=target, usageType="target"))
            if _classifies(tree):
                for node in tree.iter("Node"):
                    _fill(node, classes, drop_confidence=child)
        for segmentation in model.iter("Segmentation"):
            segmentation.set("missingPredictionTreatment", "returnMissing")
    return mended


def _classifies(tree: ET.Element) -> bool:
    return tree.get("functionName") == "classification"


def _listed(node: ET.Element) -> tuple[str, ...]:
    return tuple(s.get("value", "") for s in node.findall("ScoreDistribution"))


def _leaves(tree: ET.Element) -> Iterator[ET.Element]:
    return (n for n in tree.iter("Node") if n.find("Node") is None)


def _columns(root: ET.Element, tree: ET.Element) -> tuple[str, ...]:
    """The classes in the order in which PMML4S lays out this child's probabilities."""
    declared = tree.findall("Output/OutputField")
    if declared:
        return tuple(f.get("value", "") for f in declared if f.get("feature") == "probability")
    target = target_name(tree)
    return class_list(root, target) if target else _listed(next(_leaves(tree)))


def _fill(node: ET.Element, classes: tuple[str, ...], drop_confidence: bool) -> None:
    listed = node.findall("ScoreDistribution")
    if not listed:
        return
    if drop_confidence:
        for entry in listed:
            entry.attrib.pop("confidence", None)
    like = listed[0].attrib
    place = list(node).index(listed[-1]) + 1
    present = set(_listed(node))
    for missing in (c for c in classes if c not in present):
        attributes = {"value": missing, "recordCount": "0"}
        attributes |= {k: "0" for k in ("probability", "confidence") if k in like}
        node.insert(place, ET.Element("ScoreDistribution", attributes))
        place += 1
