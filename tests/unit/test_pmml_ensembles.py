# ruff: noqa: E501 - documents are written in one line
"""Segments of clusters, and segments that count against others, against values worked out by hand (PMML 4.4)."""

from __future__ import annotations

import pytest

from schemas.errors import PredictError, UnprovenModelError
from tests.pmml_documents import OUTPUT, document, ensemble, schema
from tests.unit.test_pmml_models import expected, linear, mining, output, read, results, simple

ROWS = [{"x": x, "y": y, "k": "red"} for x, y in ((-1.0, 0.0), (2.0, 0.0), (2.0, 9.0))]


def clusters(field: str, middle: float) -> str:
    """`low` and `high`, below and above a number."""
    centers = "".join(
        f'<Cluster id="{n}"><Array type="real">{middle + d}</Array></Cluster>'
        for n, d in (("low", -1), ("high", 1))
    )
    return (
        f'<ClusteringModel functionName="clustering" modelClass="centerBased" numberOfClusters="2">{schema(False)}'
        f'<ComparisonMeasure kind="distance"><euclidean/></ComparisonMeasure><ClusteringField field="{field}"/>{centers}</ClusteringModel>'
    )


def of_clusters(method: str, segments: list[tuple[str, str]], weights: tuple[float, ...] = ()) -> str:
    pairs = zip(segments, weights or (1.0,) * len(segments), strict=True)
    inner = "".join(f'<Segment weight="{w}">{p}{m}</Segment>' for (p, m), w in pairs)
    said = output('name="c" feature="predictedValue" dataType="string"')
    return document(
        f'<MiningModel functionName="clustering">{schema(False)}{said}<Segmentation multipleModelMethod="{method}">{inner}</Segmentation></MiningModel>'
    )


THREE = [("<True/>", clusters("x", 0.0)), ("<True/>", clusters("y", 5.0)), ("<True/>", clusters("x", 3.0))]


def test_clusters_vote() -> None:
    assert results(of_clusters("majorityVote", THREE), ROWS)["c"] == ["low", "low", "high"]
    weighted = of_clusters("weightedMajorityVote", THREE, (5.0, 1.0, 3.0))
    assert results(weighted, ROWS)["c"] == ["low", "high", "high"]
    with pytest.raises(UnprovenModelError, match="clusters are combined by 'average'"):
        read(of_clusters("average", THREE))
    asked = of_clusters("majorityVote", THREE).replace(
        'feature="predictedValue" dataType="string"', 'feature="probability" dataType="double"'
    )
    with pytest.raises(UnprovenModelError, match="the model has none"):
        read(asked)


def test_the_clusters_of_the_first_segment_that_applies() -> None:
    text = of_clusters(
        "selectFirst", [(simple("x", "lessThan", 0), clusters("x", -2.0)), ("<True/>", clusters("y", 5.0))]
    )
    assert results(text, ROWS)["c"] == ["high", "low", "high"]


def negative(method: str, attributes: str = "") -> str:
    segments = [("<True/>", linear("x", 1.0)), (simple("y", "greaterThan", 5), linear("y", 10.0))]
    text = mining(method, segments).replace("<Segmentation", f"<Segmentation {attributes}")
    return document(text.replace('id="s0"', 'weight="2"').replace('id="s1"', 'weight="-0.5"'), numeric=True)


def test_a_segment_may_count_against_the_others_in_a_sum() -> None:
    expected(negative("weightedSum"), "predicted_t", [-2.0, 4.0, -41.0], ROWS)
    expected(negative("sum"), "predicted_t", [-1.0, 2.0, 92.0], ROWS)
    for method, rule in (
        ("weightedAverage", ""),
        ("weightedMedian", ""),
        ("weightedSum", 'missingPredictionTreatment="skipSegment"'),
    ):
        with pytest.raises(UnprovenModelError, match="a segment has a negative weight"):
            read(negative(method, rule))


SQUARE = (
    '<TransformationDictionary><DerivedField name="fourth" optype="continuous" dataType="double"><Apply function="*"><FieldRef field="square"/><FieldRef field="square"/></Apply></DerivedField>'
    '<DerivedField name="square" optype="continuous" dataType="double"><Apply function="*"><FieldRef field="x"/><FieldRef field="x"/></Apply></DerivedField></TransformationDictionary>'
)


def of_square(schema_inside: str, name: str = "square") -> str:
    inside = f'<RegressionModel functionName="regression"><MiningSchema>{schema_inside}</MiningSchema><RegressionTable intercept="0"><NumericPredictor name="{name}" coefficient="1"/></RegressionTable></RegressionModel>'
    return document(
        SQUARE + mining("sum", [("<True/>", inside), ("<True/>", linear("x", 1.0))]), numeric=True
    )


@pytest.mark.parametrize(
    ("schema_inside", "name", "values"),
    [
        ('<MiningField name="x"/>', "square", [0.0, 6.0]),
        ('<MiningField name="x" outliers="asExtremeValues" lowValue="-5" highValue="1"/>', "square", [0.0, 3.0]),
        ('<MiningField name="x" outliers="asExtremeValues" lowValue="-5" highValue="1"/>', "fourth", [0.0, 3.0]),
        ('<MiningField name="x" outliers="asExtremeValues" lowValue="-5" highValue="1"/><MiningField name="square"/>', "square", [0.0, 6.0]),
        ('<MiningField name="square" outliers="asExtremeValues" lowValue="0" highValue="3"/>', "fourth", [0.0, 11.0]),
    ],
)  # fmt: skip
def test_derived_fields_of_the_document_see_the_fields_of_a_model_as_it_treats_them(
    schema_inside: str, name: str, values: list[float]
) -> None:
    """They were computed of the fields as the outermost model has them."""
    expected(of_square(schema_inside, name), "predicted_t", values, ROWS[:2])


def test_a_replacement_of_an_inner_model_reaches_derived_fields_of_the_document() -> None:
    inside = '<RegressionModel functionName="regression"><MiningSchema><MiningField name="x" missingValueReplacement="7"/></MiningSchema><RegressionTable intercept="0"><NumericPredictor name="square" coefficient="1"/></RegressionTable></RegressionModel>'
    text = document(SQUARE + mining("selectFirst", [("<True/>", inside)]), numeric=True)
    expected(text, "predicted_t", [49.0, 4.0], [{**ROWS[0], "x": None}, ROWS[1]])


def shared(*probabilities: tuple[float, float, float]) -> list[str]:
    """Trees of one leaf with these probabilities of a, b and c."""
    return [
        f'<TreeModel functionName="classification">{schema()}<Node score="a"><True/>'
        + "".join(
            f'<ScoreDistribution value="{c}" recordCount="0" probability="{p}"/>'
            for c, p in zip("abc", shares, strict=True)
        )
        + "</Node></TreeModel>"
        for shares in probabilities
    ]


ROW = [{"x": 1.0, "y": 0.0, "k": "red"}]


@pytest.mark.parametrize(
    ("method", "shares", "label", "probabilities"),
    [
        # Two segments give b its greatest probability.
        ("max", [(0.5, 0.3, 0.2), (0.1, 0.6, 0.3), (0.4, 0.6, 0.0)], "b", (0.25, 0.6, 0.15)),
        # The medians are 0.4, 0.3 and 0.2; the third segment has that of a.
        ("median", [(0.5, 0.3, 0.2), (0.1, 0.2, 0.7), (0.4, 0.5, 0.1)], "a", (0.4, 0.5, 0.1)),
        # Of four segments the two in the middle of c.
        ("median", [(0.5, 0.3, 0.2), (0.1, 0.2, 0.7), (0.3, 0.3, 0.4), (0.2, 0.2, 0.6)], "c", (0.25, 0.25, 0.5)),
    ],
)  # fmt: skip
def test_the_greatest_or_the_median_probability_decides(
    method: str, shares: list[tuple[float, float, float]], label: str, probabilities: tuple[float, ...]
) -> None:
    """The probabilities are the mean of those of the segments that have the one that decides."""
    found = results(document(ensemble(shared(*shares), method, output=OUTPUT)), ROW)
    assert found["label"] == [label]
    assert [found[f"p{c}"][0] for c in "abc"] == pytest.approx(probabilities, rel=1e-12)


def test_the_median_is_of_the_segments_that_apply() -> None:
    text = document(
        ensemble(shared((0.9, 0.1, 0.0), (0.5, 0.0, 0.5), (0.3, 0.3, 0.4)), "median", output=OUTPUT)
    )
    text = text.replace(
        '<Segment id="0" weight="1.0"><True/>', '<Segment id="0">' + simple("x", "lessThan", 0)
    )
    rows = [{**ROW[0], "x": x} for x in (-1.0, 1.0)]
    found = results(text, rows)
    assert found["label"] == ["a", "c"]
    assert found["pc"] == pytest.approx([0.5, 0.45], rel=1e-12)


def test_the_entity_of_segments_is_the_one_that_speaks() -> None:
    """PMML 4.4, Output: `entityId` is the id of the winning segment, not of the node that it ends in."""
    said = output('name="who" feature="entityId" dataType="string"')
    leaf = f'<TreeModel functionName="regression">{schema()}<Node id="n" score="1"><True/></Node></TreeModel>'
    segments = [(simple("x", "lessThan", 0), leaf), ("<True/>", linear("y", 1.0))]
    assert results(document(mining("selectFirst", segments, said), numeric=True), ROWS)["who"] == [
        "s0",
        "s1",
        "s1",
    ]
    chained = [("<True/>", linear("y", 1.0)), (simple("x", "greaterThan", 0), leaf)]
    assert results(document(mining("modelChain", chained, said), numeric=True), ROWS)["who"] == [
        "s0",
        "s1",
        "s1",
    ]
    always = document(
        mining("modelChain", [("<True/>", linear("y", 1.0)), ("<True/>", leaf)], said), numeric=True
    )
    assert results(always, ROWS)["who"] == ["s1", "s1", "s1"]


def aimed(at: str, model: str) -> str:
    """The model with a target."""
    return model.replace("<MiningSchema>", f'<MiningSchema><MiningField name="{at}" usageType="target"/>')


def of_two(second: str, attributes: str = "") -> str:
    """A chain with a target for each of two segments."""
    both = '<MiningField name="u" usageType="target"/>'
    segments = f'<Segment id="first"><True/>{aimed("t", linear("x", 1.0))}</Segment><Segment id="second">{second}</Segment>'
    text = document(
        f'<MiningModel functionName="regression">{schema().replace("<MiningSchema>", f"<MiningSchema>{both}")}'
        f'<Segmentation multipleModelMethod="x-multiModelChain" {attributes}>{segments}</Segmentation></MiningModel>',
        numeric=True,
    )
    declared = '<DataField name="u" optype="continuous" dataType="double"/>'
    return text.replace("<DataDictionary>", f"<DataDictionary>{declared}")


def test_a_chain_of_several_targets_may_have_conditions() -> None:
    other = aimed("u", linear("y", 10.0))
    text = of_two(simple("x", "greaterThan", 0) + other)
    found = results(text, ROWS[1:])
    assert (found["predicted_t"], found["predicted_u"]) == ([2.0, 2.0], [0.0, 90.0])
    with pytest.raises(PredictError, match="predicted_u"):
        results(text, ROWS)
    with pytest.raises(UnprovenModelError, match="no result at all where one is missing"):
        read(of_two(f"<True/>{other}", 'missingPredictionTreatment="returnMissing"'))
    with pytest.raises(UnprovenModelError, match="'t' twice"):
        read(of_two(simple("x", "greaterThan", 0) + aimed("t", linear("y", 1.0))))
