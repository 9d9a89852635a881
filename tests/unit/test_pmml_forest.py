# ruff: noqa: E501 - documents are written in one line, and have many parts
"""The check of what the evaluator scores wrong, the mend, and what is refused. No JVM."""

import xml.etree.ElementTree as ET

import pytest

from tests.pmml_documents import CLASSES, Leaf, Split, among, document, ensemble, less, probabilities, tree
from udfs.models.runtimes.pmml.document import parse
from udfs.models.runtimes.pmml.forest import faults, mend
from udfs.models.runtimes.pmml.proof import missing_allowed, unproven

FULL = [("a", 5), ("b", 3), ("c", 2)]


def stump(left: list[tuple[str, int]], right: list[tuple[str, int]]) -> Split:
    below, above = less("x", 0.0)
    return Split([(below, Leaf(left)), (above, Leaf(right))])


def forest(*tops: Split, target: bool = False, method: str = "average", output: str = "") -> str:
    children = [tree(top, target=target, output=output) for top in tops]
    return document(ensemble(children, method, output=probabilities()))


def reasons(text: str) -> str:
    return "; ".join(unproven(parse(text.encode())))


@pytest.mark.parametrize(
    ("tops", "target", "expected"),
    [
        ([stump(FULL, FULL)] * 2, False, []),
        ([stump(FULL, FULL), stump(FULL, [("b", 1)])], True, ["1 leaves"]),
        ([stump(FULL[:2], FULL), stump(FULL, FULL)], False, ["lack a class", "permuted", "1 leaves"]),
        ([stump(FULL, FULL), stump(FULL[::-1], FULL)], False, ["permuted"]),
        ([stump(FULL, FULL), stump(FULL[::-1], FULL)], True, []),
    ],
)
def test_the_check_finds_each_fault_and_the_mend_leaves_none(
    tops: list[Split], target: bool, expected: list[str]
) -> None:
    root = parse(forest(*tops, target=target).encode()).root
    before = ET.tostring(root)
    found = faults(root)
    assert len(found) == len(expected) and all(e in f for e, f in zip(expected, found, strict=True))
    assert faults(mend(root)) == ()
    assert ET.tostring(root) == before, "the mend works on a copy"


def test_the_mend_lists_every_class_with_zero_counts_only() -> None:
    root = mend(parse(forest(stump([("b", 4)], FULL)).encode()).root)
    leaf = next(n for n in root.iter("Node") if n.find("Node") is None)
    assert {s.get("value"): s.get("recordCount") for s in leaf.findall("ScoreDistribution")} == {
        "a": "0", "b": "4", "c": "0",
    }  # fmt: skip
    assert root.findall(".//TreeModel/MiningSchema/MiningField[@usageType='target']")


def test_the_mend_drops_confidences_of_children_that_would_shift_columns() -> None:
    below, above = less("x", 0.0)
    sure = Split([(below, Leaf(FULL, confidence=True)), (above, Leaf(FULL, confidence=True))])
    root = mend(parse(forest(sure, stump(FULL, FULL)).encode()).root)
    assert not [s for s in root.iter("ScoreDistribution") if s.get("confidence")]


def test_what_is_proven_has_no_reasons() -> None:
    assert reasons(forest(stump([("b", 4)], FULL), stump(FULL, FULL))) == ""
    assert reasons(forest(stump(FULL, FULL), output=probabilities())) == ""


def _nested() -> str:
    inner = ensemble([tree(stump(FULL, FULL))], "average", output=probabilities())
    return document(ensemble([inner, inner], "average", output=probabilities()))


def _regressions() -> str:
    table = "".join(f'<RegressionTable intercept="0" targetCategory="{c}"/>' for c in CLASSES)
    child = f'<RegressionModel functionName="classification" normalizationMethod="softmax"><MiningSchema/>{table}</RegressionModel>'
    return document(ensemble([child], "average"))


ONE = forest(stump(FULL, FULL))
XOR = '<CompoundPredicate booleanOperator="xor"><True/><False/></CompoundPredicate>'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_nested(), "nested ensemble"),
        (_regressions(), "combines RegressionModel"),
        (forest(stump(FULL, FULL), method="modelChain"), "'modelChain'"),
        (forest(stump(FULL, FULL), method="selectFirst"), "'selectFirst'"),
        (forest(stump(FULL, FULL), method="max"), "'max'"),
        (forest(stump(FULL, FULL), method="weightedMajorityVote"), "'weightedMajorityVote'"),
        (forest(stump(FULL, FULL), output=probabilities("ab")), "partial outputs"),
        (ONE.replace("<True/><TreeModel", "<False/><TreeModel"), "condition"),
        (document(tree(stump(FULL, FULL)), classes=()), "does not declare its values"),
        (document(ensemble([tree(stump(FULL, FULL))], "average"), classes=()), "does not declare its values"),
        (document(tree(stump(FULL, [("z", 1)]))), "does not declare"),
        (ONE.replace("<Segmentation", '<Targets><Target field="t"/></Targets><Segmentation'), "Targets"),
        (
            forest(stump(FULL, FULL), stump([], [])).replace('<Node id="n">', '<Node id="n">'),
            "no class distribution",
        ),
        (
            document(tree(stump(FULL, FULL), attributes='missingValueStrategy="weightedConfidence"')),
            "strategy",
        ),
        (document(tree(stump(FULL, FULL), attributes='missingValueStrategy="aggregateNodes"')), "strategy"),
        (
            document(tree(stump(FULL, FULL), attributes='missingValueStrategy="defaultChild"')),
            "default child",
        ),
        (document(tree(Split([(XOR, Leaf(FULL)), ("<True/>", Leaf(FULL))]))), "'xor'"),
        (document(tree(stump(FULL, FULL)).replace("<True/>", less("x", 1.0)[0], 1)), "root node"),
        (document(tree(stump(FULL, FULL)).replace('field="x"', 'field="q"')), "not active"),
        (ONE.replace("<Output>", "<LocalTransformations/><Output>", 1), "local transformations"),
        (
            document('<NeuralNetwork functionName="regression"><MiningSchema/></NeuralNetwork>'),
            "NeuralNetwork",
        ),
        (
            document('<ClusteringModel functionName="clustering"><MiningSchema/></ClusteringModel>'),
            "ClusteringModel",
        ),
        (ONE.replace('average"', 'average" missingPredictionTreatment="skipSegment"'), "skips"),
        (ONE.replace('weight="1.0"', 'weight="0"'), "weight"),
        (ONE.replace('value="c"/></DataField>', 'value="a"/></DataField>'), "twice"),
    ],
)
def test_what_cannot_be_proven_is_refused_with_its_reason(text: str, reason: str) -> None:
    assert reason in reasons(text)


def test_missing_values_are_allowed_where_siblings_are_unknown_together() -> None:
    below, _ = less("x", 0.0)
    apart = Split([(below, Leaf(FULL)), ("<True/>", Leaf(FULL))])
    strict = 'missingValueStrategy="nullPrediction"'
    assert missing_allowed(parse(document(tree(stump(FULL, FULL), attributes=strict)).encode()))
    assert not missing_allowed(parse(document(tree(apart, attributes=strict)).encode()))
    assert missing_allowed(parse(document(tree(apart)).encode()))
    same = Split([(p, Leaf(FULL)) for p in among(["red"])])
    assert missing_allowed(parse(document(tree(same, attributes=strict)).encode()))
