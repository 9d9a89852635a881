# ruff: noqa: E501 - documents are written in one line
"""Kinds of PMML models, each against results worked out by hand from the standard's text."""

from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.settings.run import settings_of
from jobs.settings.serve import ServeSettings
from millrace.cli import app
from schemas.errors import PredictError, UnprovenModelError
from tests.pmml_documents import Leaf, Split, document, ensemble, less, node, schema, tree
from udfs.models.model_store import StoreSpec
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml import loading
from udfs.models.runtimes.pmml.compiler import tree_kernels
from udfs.models.runtimes.pmml.compiler.forest import Forest
from udfs.models.runtimes.pmml.document import Document, parse
from udfs.models.runtimes.pmml.runtime import PmmlRuntime, load

ROWS = [{"x": -1.0, "y": 0.0, "k": "red"}, {"x": 2.0, "y": 3.0, "k": "blue"}]


def read(text: str) -> PmmlRuntime:
    return load(Artifact(text.encode(), None, Path()), WantedSignature())


def results(text: str, rows: list[dict[str, Any]] = ROWS) -> dict[str, list[Any]]:
    runtime = read(text)
    columns = {}
    for i in runtime.inputs:
        column = np.empty(len(rows), object)
        column[:] = [row.get(i.name) for row in rows]
        columns[i.name] = column
    return {name: column.tolist() for name, column in runtime.predict(columns).items()}


def expected(text: str, name: str, values: list[Any], rows: list[dict[str, Any]] = ROWS) -> None:
    found = results(text, rows)[name]
    if isinstance(values[0], str):
        assert found == values
    else:
        assert found == pytest.approx(values, rel=1e-9)


def output(*fields: str) -> str:
    return "<Output>" + "".join(f"<OutputField {f}/>" for f in fields) + "</Output>"


def simple(name: str, operator: str, value: Any) -> str:
    return f'<SimplePredicate field="{name}" operator="{operator}" value="{value}"/>'


SCORECARD = (
    f'<Scorecard functionName="regression" initialScore="10" reasonCodeAlgorithm="pointsBelow">{schema()}'
    + output(
        'name="score" feature="predictedValue" dataType="double"',
        'name="r1" feature="reasonCode" rank="1" dataType="string"',
        'name="r2" feature="reasonCode" rank="2" dataType="string"',
    )
    + '<Characteristics><Characteristic name="c1" reasonCode="RX" baselineScore="20">'
    f'<Attribute partialScore="5">{simple("x", "lessThan", 0)}</Attribute><Attribute partialScore="30"><True/></Attribute></Characteristic>'
    '<Characteristic name="c2" baselineScore="8">'
    f'<Attribute reasonCode="RK" partialScore="7">{simple("k", "equal", "red")}</Attribute>'
    '<Attribute reasonCode="RY"><True/><ComplexPartialScore><Apply function="*"><FieldRef field="y"/><Constant dataType="double">2</Constant></Apply></ComplexPartialScore></Attribute>'
    "</Characteristic></Characteristics></Scorecard>"
)


def test_a_scorecard_adds_points_and_ranks_its_reasons() -> None:
    text = document(SCORECARD, numeric=True)
    expected(text, "score", [10 + 5 + 7, 10 + 30 + 6])
    expected(text, "r1", ["RX", "RY"])  # 15 and 1 points below; -10 and 2
    expected(text, "r2", ["RK", ""])  # what is better than its baseline is no reason


def rules(criterion: str) -> str:
    return (
        f'<RuleSetModel functionName="classification">{schema()}' + output('name="l" feature="predictedValue" dataType="string"')
        + f'<RuleSet defaultScore="c"><RuleSelectionMethod criterion="{criterion}"/>'
        f'<CompoundRule>{simple("y", "greaterThan", -1)}<SimpleRule id="r1" score="a" weight="0.4">{simple("x", "lessThan", 5)}</SimpleRule></CompoundRule>'
        f'<SimpleRule id="r2" score="b" weight="0.3">{simple("x", "greaterThan", 0)}</SimpleRule>'
        f'<SimpleRule id="r3" score="b" weight="0.3">{simple("k", "equal", "blue")}</SimpleRule></RuleSet></RuleSetModel>'
    )  # fmt: skip


@pytest.mark.parametrize(
    ("criterion", "labels"),
    [("firstHit", ["a", "a", "c"]), ("weightedMax", ["a", "a", "c"]), ("weightedSum", ["a", "b", "c"])],
)
def test_rule_sets(criterion: str, labels: list[str]) -> None:
    expected(document(rules(criterion)), "l", labels, [*ROWS, {"x": -1.0, "y": -5.0, "k": "red"}])


NAIVE = (
    f'<NaiveBayesModel functionName="classification" threshold="0.01">{schema()}<BayesInputs><BayesInput fieldName="k">'
    + "".join(
        f'<PairCounts value="{v}"><TargetValueCounts>'
        + "".join(f'<TargetValueCount value="{c}" count="{n}"/>' for c, n in zip("abc", counts, strict=True))
        + "</TargetValueCounts></PairCounts>"
        for v, counts in (("red", (1, 2, 0)), ("blue", (3, 2, 5)))
    )
    + '</BayesInput></BayesInputs><BayesOutput fieldName="t"><TargetValueCounts><TargetValueCount value="a" count="4"/>'
    '<TargetValueCount value="b" count="4"/><TargetValueCount value="c" count="5"/></TargetValueCounts></BayesOutput></NaiveBayesModel>'
)


def test_a_naive_bayes_counts_pairs_and_ignores_what_is_missing() -> None:
    rows = [*ROWS, {"x": 0.0, "y": 0.0, "k": None}]
    weights = [[4 * 0.25, 4 * 0.5, 5 * 0.01], [4 * 0.75, 4 * 0.5, 5 * 1.0], [4.0, 4.0, 5.0]]
    found = results(document(NAIVE), rows)
    assert found["predicted_t"] == ["b", "c", "c"]
    for row, parts in enumerate(weights):
        for name, part in zip("abc", parts, strict=True):
            assert found[f"probability_{name}"][row] == pytest.approx(part / sum(parts), rel=1e-12)


def general(attributes: str, cells: str, extra: str = "") -> str:
    return (
        f'<GeneralRegressionModel functionName="classification" {attributes}>{schema()}{extra}'
        '<ParameterList><Parameter name="p0"/><Parameter name="p1"/><Parameter name="p2"/></ParameterList>'
        '<FactorList><Predictor name="k"/></FactorList><CovariateList><Predictor name="x"/></CovariateList>'
        '<PPMatrix><PPCell value="2" predictorName="x" parameterName="p1"/><PPCell value="red" predictorName="k" parameterName="p2"/></PPMatrix>'
        f"<ParamMatrix>{cells}</ParamMatrix></GeneralRegressionModel>"
    )


def test_general_regression_of_two_and_of_more_categories() -> None:
    cells = '<PCell targetCategory="b" parameterName="p0" beta="0.5"/><PCell targetCategory="b" parameterName="p1" beta="-1"/><PCell targetCategory="b" parameterName="p2" beta="2"/>'
    two = document(general('modelType="generalizedLinear" linkFunction="logit"', cells), classes=("a", "b"))
    sums = [0.5 - 1 + 2, 0.5 - 4]
    expected(two, "probability_b", [1 / (1 + math.exp(-s)) for s in sums])
    more = cells + '<PCell targetCategory="c" parameterName="p0" beta="1"/>'
    three = document(general('modelType="multinomialLogistic" targetReferenceCategory="a"', more))
    total = [1 + math.exp(s) + math.e for s in sums]
    expected(three, "probability_c", [math.e / t for t in total])
    expected(three, "probability_a", [1 / t for t in total])


def inner_tree(low: str, high: str, name: str = "", function: str = "regression") -> str:
    declared = (
        output(f'name="{name}" feature="predictedValue" dataType="double" isFinalResult="false"')
        if name
        else ""
    )
    ways = [(p, Leaf([], score)) for p, score in zip(less("x", 0.0), (low, high), strict=True)]
    return tree(Split(ways), function, output=declared, target=False)  # type: ignore[arg-type]


def mining(method: str, segments: list[tuple[str, str]], extra: str = "", attributes: str = "") -> str:
    inner = "".join(
        f'<Segment id="s{k}">{condition}{model}</Segment>' for k, (condition, model) in enumerate(segments)
    )
    return (
        f'<MiningModel functionName="regression" {attributes}>{schema()}{extra}'
        f'<Segmentation multipleModelMethod="{method}">{inner}</Segmentation></MiningModel>'
    )


def linear(name: str, coefficient: float, intercept: float = 0.0) -> str:
    return (
        f'<RegressionModel functionName="regression"><MiningSchema><MiningField name="{name}"/></MiningSchema>'
        f'<RegressionTable intercept="{intercept}"><NumericPredictor name="{name}" coefficient="{coefficient}"/></RegressionTable></RegressionModel>'
    )


def test_a_chain_reads_what_an_earlier_segment_said() -> None:
    chain = mining(
        "modelChain", [("<True/>", inner_tree("3", "5", "first")), ("<True/>", linear("first", 2.0, 1.0))]
    )
    expected(document(chain, numeric=True), "predicted_t", [7.0, 11.0])


def test_the_last_segment_of_a_chain_that_applies_is_the_result() -> None:
    chain = mining(
        "modelChain", [("<True/>", linear("x", 1.0)), (simple("x", "greaterThan", 0), linear("x", 10.0))]
    )
    expected(document(chain, numeric=True), "predicted_t", [-1.0, 20.0])


@pytest.mark.parametrize("kind", ["classification", "clustering"])
def test_a_chain_of_regressions_by_what_a_model_of_another_kind_said(kind: str) -> None:
    """Where that model is the last that applies to a row, there is no number."""
    said = output('name="said" feature="predictedValue" dataType="string"')
    first = tree(
        Split([(p, Leaf([(c, 1)])) for p, c in zip(less("x", 0.0), "ab", strict=True)]),
        output=said,
        target=False,
    )
    if kind == "clustering":
        first = (
            f'<ClusteringModel functionName="clustering" modelClass="centerBased" numberOfClusters="2">{schema(False)}{said}'
            '<ComparisonMeasure kind="distance"><euclidean/></ComparisonMeasure><ClusteringField field="x"/>'
            '<Cluster id="a"><Array type="real">-1</Array></Cluster><Cluster id="b"><Array type="real">2</Array></Cluster></ClusteringModel>'
        )
    segments = [
        ("<True/>", first),
        (simple("said", "equal", "a"), linear("x", 10.0)),
        (simple("y", "greaterThan", 1), linear("y", 1.0)),
    ]
    text = document(mining("modelChain", segments), numeric=True)
    expected(text, "predicted_t", [-10.0, 3.0])
    with pytest.raises(PredictError, match=r"no 'predicted_t' in rows 0$"):
        results(text, [{"x": 2.0, "y": 0.0, "k": "red"}, *ROWS])
    with pytest.raises(UnprovenModelError, match="stand in for each other"):
        read(
            document(mining("selectFirst", [(simple("x", "lessThan", 0), first), segments[2]]), numeric=True)
        )


def test_the_first_segment_that_applies_is_selected() -> None:
    choice = mining(
        "selectFirst",
        [(simple("x", "greaterThan", 0), linear("x", 1.0)), (simple("y", "lessThan", 1), linear("x", 5.0))],
    )
    expected(document(choice, numeric=True), "predicted_t", [-5.0, 2.0])
    with pytest.raises(PredictError, match="rows 0"):
        results(document(choice, numeric=True), [{"x": -1.0, "y": 2.0, "k": "red"}])


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("sum", [-1.0 + 0.0, 2.0 + 30.0 + 6.0]),
        ("average", [-0.5, 38.0 / 3]),
        ("max", [0.0, 30.0]),
        ("median", [-0.5, 6.0]),
    ],
)
def test_segments_that_do_not_apply_do_not_count(method: str, values: list[float]) -> None:
    segments = [
        ("<True/>", linear("x", 1.0)),
        ("<True/>", linear("y", 10.0)),
        (simple("x", "greaterThan", 0), linear("y", 2.0)),
    ]
    expected(document(mining(method, segments), numeric=True), "predicted_t", values)


def test_segments_without_a_prediction_are_skipped_where_the_document_says_so() -> None:
    segments = [("<True/>", linear("x", 1.0)), ("<True/>", linear("y", 10.0))]
    text = document(mining("sum", segments), numeric=True)
    rows = [{"x": None, "y": 2.0, "k": "red"}]
    with pytest.raises(PredictError):
        results(text, rows)
    skipping = text.replace(
        'multipleModelMethod="sum"', 'multipleModelMethod="sum" missingPredictionTreatment="skipSegment"'
    )
    expected(skipping, "predicted_t", [20.0], rows)


def test_votes_of_weighted_segments() -> None:
    trees = [
        tree(Split([(p, Leaf([], s)) for p, s in zip(less("x", 0.0), pair, strict=True)]), target=False)
        for pair in ("ab", "bb", "cc")
    ]
    text = document(ensemble(trees, "weightedMajorityVote", weights=(0.5, 0.2, 0.3)))
    expected(text, "predicted_t", ["a", "b"])
    expected(text, "probability_b", [0.2, 0.7])


def test_an_isolation_forest_scores_by_its_mean_depth() -> None:
    inner = mining("average", [("<True/>", inner_tree("2", "6")), ("<True/>", inner_tree("4", "8"))])
    text = document(
        f'<AnomalyDetectionModel functionName="regression" algorithmType="iforest" sampleDataSize="256">{schema()}{inner}</AnomalyDetectionModel>',
        numeric=True,
    )
    mean = 2 * (math.log(255) + 0.5772156649015329) - 2 * 255 / 256
    expected(text, "predicted_t", [2 ** (-3 / mean), 2 ** (-7 / mean)])


@pytest.mark.parametrize(
    ("target", "values"),
    [('rescaleFactor="2" rescaleConstant="1"', [-1.0, 5.0]), ('min="0"', [0.0, 2.0]), ('max="1.5" castInteger="round"', [-1.0, 2.0]),
     ('castInteger="floor" rescaleFactor="0.4"', [-1.0, 0.0]), ('castInteger="ceiling" rescaleFactor="0.4"', [0.0, 1.0])],
)  # fmt: skip
def test_targets(target: str, values: list[float]) -> None:
    model = linear("x", 1.0).replace(
        "</MiningSchema>",
        f'<MiningField name="t" usageType="target"/></MiningSchema><Targets><Target field="t" {target}/></Targets>',
    )
    expected(document(model, numeric=True), "predicted_t", values)


def test_sums_of_a_float_context_are_of_floats() -> None:
    values = ("0.1", "0.2", "0.7", "3.3")
    trees = [
        tree(Leaf([], v), "regression", target=False, attributes='x-mathContext="float"') for v in values
    ]
    text = document(ensemble(trees, "sum", "regression"), numeric=True).replace(
        '<MiningModel functionName="regression"',
        '<MiningModel functionName="regression" x-mathContext="float"',
    )
    total = np.float32(0)
    for v in values:
        total = total + np.float32(v)
    expected(text, "predicted_t", [float(total)] * 2)
    assert float(total) != sum(map(float, values))


def verified(cell: str, tolerance: str = 'precision="1E-3"', given: str = "2") -> str:
    told = (
        '<ModelVerification><VerificationFields><VerificationField field="x"/><VerificationField field="t" column="said" TOLERANCE/></VerificationFields>'
        f"<InlineTable><row><x>{given}</x><said>{cell}</said></row></InlineTable></ModelVerification>"
    ).replace("TOLERANCE", tolerance)
    model = linear("x", 3.0).replace(
        "</MiningSchema>", '<MiningField name="t" usageType="target"/></MiningSchema>' + told
    )
    return document(model, numeric=True)


def test_a_model_is_held_to_its_own_verification() -> None:
    assert read(verified("6.003")).verified
    assert not read(document(linear("x", 3.0), numeric=True)).verified
    with pytest.raises(UnprovenModelError, match=r"contradicts its own verification: row 1: t is 6\.1"):
        read(verified("6.1"))


def test_a_verification_may_be_required() -> None:
    def loaded(text: str, required: bool) -> Any:
        return loading.load(Artifact(text.encode(), None, Path()), WantedSignature(verification=required))

    assert loaded(verified("6"), True).verified
    without = document(linear("x", 3.0), numeric=True)
    assert not loaded(without, False).verified
    with pytest.raises(UnprovenModelError, match="no ModelVerification, which is required"):
        loaded(without, True)


def test_a_publisher_and_a_job_may_require_a_verification(tmp_path: Path) -> None:
    model, stream = tmp_path / "m.pmml", tmp_path / "stream"
    arguments = [
        "publish",
        str(model),
        "--data-type",
        "wine",
        "--require-verification",
        "--to-folder",
        str(stream),
    ]
    model.write_text(document(linear("x", 3.0), numeric=True))
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, stream.exists()) == (1, False)
    assert "refused at the step 'safety': the document holds no ModelVerification" in done.stderr
    model.write_text(verified("6"))
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    job = settings_of(
        ServeSettings, ["--folder.root", "/tmp", "--data-types", '{"wine": {"require_verification": true}}']
    )
    assert job.scoring(StoreSpec()).load["wine"].verification


@pytest.mark.parametrize(
    ("cell", "tolerance", "given", "wide"),
    [
        ("0.4", 'precision="0.5"', "0", 'zeroThreshold="0.5"'),
        ("9E-7", "", "0", 'zeroThreshold="1E-6"'),
        ("0", "", "3E-7", 'zeroThreshold="1E-6"'),
        ("6", 'precision="0.5"', "3.1", 'precision="0.56"'),
    ],
)
def test_tolerances_are_parts_of_what_is_expected(cell: str, tolerance: str, given: str, wide: str) -> None:
    """And both sides are 0 within the threshold, or neither is."""
    assert read(verified(cell, wide, given)).verified
    with pytest.raises(UnprovenModelError, match=f"contradicts its own verification: row 1: t is {cell}, "):
        read(verified(cell, tolerance, given))


def test_a_verification_that_proves_nothing_is_refused() -> None:
    with pytest.raises(UnprovenModelError, match="compares no result"):
        read(verified(""))
    with pytest.raises(UnprovenModelError, match="holds 'abc' for 'x', which is no double"):
        read(verified("0", given="abc"))
    row = "<row><x>2</x><said>6</said></row>"
    with pytest.raises(UnprovenModelError, match="more than 10000 rows"):
        read(verified("6").replace(row, row * 10_001))
    inner = verified("6")
    model = inner[inner.index("<RegressionModel") : inner.index("</PMML>")]
    around = f'<MiningModel functionName="regression">{schema()}<Segmentation multipleModelMethod="sum"><Segment><True/>{model}</Segment></Segmentation></MiningModel>'
    with pytest.raises(UnprovenModelError, match="a model inside another has a ModelVerification"):
        read(document(around, numeric=True))


def test_a_residual_is_what_was_observed_less_what_is_predicted() -> None:
    fields = output('name="p" feature="predictedValue" dataType="double"',
                    'name="r" feature="residual" dataType="double"', 'name="w" feature="warning" dataType="string"')  # fmt: skip
    model = linear("x", 3.0, 0.5).replace(
        "</MiningSchema>",
        f'<MiningField name="t" usageType="target"/></MiningSchema>{fields}<Targets><Target field="t" rescaleFactor="2"/></Targets>',
    )
    text = document(model, numeric=True)
    rows = [{"x": 1.0, "t": 10.0}, {"x": -1.0, "t": 0.0}]
    expected(text, "p", [7.0, -5.0], rows)
    expected(text, "r", [3.0, 5.0], rows)
    expected(text, "w", ["", ""], rows)
    with pytest.raises(PredictError, match="rows 0"):
        results(text, [{"x": 1.0}])


def test_an_output_that_is_not_known_is_passed_over_where_nobody_needs_it() -> None:
    """R writes probabilities of support vector machines, and these have none."""
    fields = output('name="p" feature="predictedValue" dataType="double"',
                    'name="q" feature="probability" dataType="double"',
                    'name="e" feature="standardError" dataType="double"').replace(
        "</Output>", '<OutputField name="d" feature="transformedValue" dataType="double"><FieldRef field="p"/></OutputField></Output>')  # fmt: skip
    text = document(
        linear("x", 3.0, 0.5).replace("</MiningSchema>", f"</MiningSchema>{fields}"), numeric=True
    )

    def named(text: str, *names: str) -> PmmlRuntime:
        artifact = Artifact(text.encode(), None, Path())
        return load(artifact, WantedSignature(outputs=[(name, name) for name in names]))

    runtime = named(text, "d")
    columns = {i.name: np.array([2.0]) for i in runtime.inputs}
    assert runtime.predict(columns)["d"].tolist() == [6.5]
    assert named(text, "p").predict(columns)["p"].tolist() == [6.5]
    with pytest.raises(UnprovenModelError, match="asks for a probability"):
        read(text)
    for needed in (("q",), ("d", "e")):
        with pytest.raises(UnprovenModelError, match=r"asks for a probability|standardError"):
            named(text, *needed)
    told = text.replace(
        "</RegressionModel>",
        '<ModelVerification><VerificationFields><VerificationField field="x"/><VerificationField field="q"/></VerificationFields>'
        "<InlineTable><row><x>2</x><q>0.5</q></row></InlineTable></ModelVerification></RegressionModel>",
    )
    with pytest.raises(UnprovenModelError, match="asks for a probability"):
        named(told, "d")


def test_a_residual_of_a_category_is_whether_it_was_observed_less_its_probability() -> None:
    fields = output('name="y" feature="residual" value="a" dataType="double"',
                    'name="n" feature="residual" value="b" targetField="t" dataType="double"')  # fmt: skip
    text = document(tree(Leaf([("a", 8), ("b", 2)]), output=fields))
    rows = [{"x": 1.0, "y": 0.0, "k": "red", "t": seen} for seen in "abc"]
    expected(text, "y", [0.2, -0.8, -0.8], rows)
    expected(text, "n", [-0.2, 0.8, -0.2], rows)
    with pytest.raises(PredictError, match="rows 0"):
        results(text, [{"x": 1.0, "y": 0.0, "k": "red"}])


# A root of 100 records; the first child stands for 50, the second for 30, the third for 20.
GOLF = (
    '<TreeModel functionName="classification" missingValueStrategy="STRATEGY">'
    '<MiningSchema><MiningField name="t" usageType="target"/><MiningField name="x"/><MiningField name="k"/></MiningSchema>OUTPUT'
    '<Node recordCount="100"><True/>'
    + "".join(
        f'<Node id="{k}" recordCount="{sum(counts)}">{predicate}'
        + "".join(
            f'<ScoreDistribution value="{c}" recordCount="{n}" confidence="{sure}"/>'
            for c, n, sure in zip("abc", counts, confidences, strict=True)
        )
        + "</Node>"
        for k, (predicate, counts, confidences) in enumerate([
            (simple("k", "equal", "red"), (30, 15, 5), (0.5, 0.3, 0.2)),
            (simple("x", "lessThan", 0), (2, 20, 8), (0.1, 0.6, 0.3)),
            ("<True/>", (5, 5, 10), (0.2, 0.2, 0.6)),
        ])
    )
    + "</Node></TreeModel>"
)  # fmt: skip
DOUBTFUL = [{"x": -1.0, "k": None}, {"x": None, "k": None}, {"x": 1.0, "k": "blue"}]


def test_confidences_are_weighted_by_the_records_of_all_children_that_may_apply() -> None:
    both = document(GOLF.replace("STRATEGY", "weightedConfidence").replace("OUTPUT", output('name="l" dataType="string"', 'name="cb" feature="confidence" value="b" dataType="double"')))  # fmt: skip
    weighted = 0.5 * 0.3 + 0.3 * 0.6 + 0.2 * 0.2
    expected(both, "cb", [weighted, weighted, 0.2], DOUBTFUL)  # all children may apply; the third does
    expected(both, "l", ["b", "b", "c"], DOUBTFUL)
    # Without the second child the weights are parts of 70 or of 100, which the standard leaves open.
    partial = [{"x": 1.0, "k": None}]
    with pytest.raises(PredictError, match="no 'cb'"):
        results(both, partial)
    label = document(GOLF.replace("STRATEGY", "weightedConfidence").replace("OUTPUT", ""))
    expected(label, "predicted_t", ["a"], partial)  # 50 * 0.5 + 20 * 0.2 of a, 19 of b, 22 of c


def test_counts_are_added_over_the_leaves_that_a_row_may_reach() -> None:
    text = document(GOLF.replace("STRATEGY", "aggregateNodes").replace("OUTPUT", ""))
    rows = [*DOUBTFUL, {"x": 1.0, "k": None}]
    expected(text, "probability_a", [32 / 80, 37 / 100, 5 / 20, 35 / 70], rows)
    expected(text, "predicted_t", ["b", "b", "c", "a"], rows)
    votes = document(
        ensemble([GOLF.replace("STRATEGY", "aggregateNodes").replace("OUTPUT", "")], "majorityVote")
    )
    expected(votes, "predicted_t", ["b", "b", "c", "a"], rows)


MODELS_REFUSED = [
    ("<TimeSeriesModel functionName='timeSeries'/>", "TimeSeriesModel"),
    (
        tree(Leaf([("a", 1)])).replace("<True/>", '<True/><Regression functionName="regression"/>'),
        "Regression",
    ),
    (
        tree(
            Split([(p, Leaf([], "1")) for p in less("x", 0.0)]),
            "regression",
            attributes='missingValueStrategy="aggregateNodes"',
        ),
        "'aggregateNodes' is of categories",
    ),
    (
        tree(
            Split([(p, Leaf([("a", 1)])) for p in less("x", 0.0)]),
            attributes='missingValueStrategy="weightedConfidence"',
        ),
        "lacks confidence",
    ),
    (
        tree(
            Leaf([("a", 1)], confidence=True),
            output=output('name="c" feature="confidence" dataType="double"'),
            attributes='missingValuePenalty="0.8"',
        ),
        "missingValuePenalty",
    ),
    (
        tree(Leaf([("a", 1)]), output=output('name="r" feature="residual" dataType="double"')),
        "does not say of which category",
    ),
    (tree(Leaf([("a", 1)]), output=output('name="r" feature="x-report"')), "'x-report'"),
    (tree(Leaf([("a", 1)]), attributes='isScorable="false"'), "must not be scored"),
    (ensemble([tree(Leaf([("a", 1)]))], "selectAll"), "selectAll"),
    (ensemble([tree(Leaf([("a", 1)]))], "sum"), "sum"),
    (
        tree(Leaf([], "a"), output=output('name="p" feature="probability" value="a"')),
        "asks for a probability",
    ),
    (tree(Leaf([("a", 1)]), attributes='x-mathContext="decimal"'), "decimal"),
]


@pytest.mark.parametrize(("model", "reason"), MODELS_REFUSED)
def test_what_is_not_known_is_refused_by_name(model: str, reason: str) -> None:
    with pytest.raises(UnprovenModelError, match=reason):
        read(document(model))


def test_trees_are_walked_alike_with_and_without_machine_code() -> None:
    runtime = read(
        document(
            ensemble(
                [
                    tree(Split([(p, Leaf([("a", k), ("b", 3)])) for p in less("xy"[k % 2], k / 7)]))
                    for k in range(1, 9)
                ],
                "average",
            )
        )
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    x[rng.random(x.shape) < 0.1] = np.nan
    forest = runtime_forest(runtime)
    tests, values = forest.tests, rng.random((40, 2))
    assert (tree_kernels.find_leaves(x, tests) == tree_kernels.find_leaves_numpy(x, tests)).all()
    weights = rng.random(len(tests.roots))
    one, other = (
        tree_kernels.sum_leaves(x, tests, values, weights),
        tree_kernels.sum_leaves_numpy(x, tests, values, weights),
    )
    assert (one == other).all()


SCALED = "".join(
    f'<DerivedField name="{name}" optype="continuous" dataType="double"><Apply function="{outer}"><Apply function="-">'
    f'<FieldRef field="{field}"/><Constant dataType="double">{shift}</Constant></Apply>'
    f'<Constant dataType="double">{by}</Constant></Apply></DerivedField>'
    for name, field, outer, shift, by in (("sx", "x", "/", 0.3, 1.7), ("sy", "y", "/", -2.1, 0.9), ("px", "x", "*", 1.1, 1e-3))
)  # fmt: skip
TERMS = "".join(
    f'<NumericPredictor name="{name}" coefficient="{weight}"{power}/>'
    for name, weight, power in (("sx", 0.7, ""), ("sy", -1.3, ""), ("px", 11.0, ""), ("y", 0.25, ' exponent="2"'), ("z", 3.3, ""), ("n", 0.1, ""))
)  # fmt: skip
MANY = (
    '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary>'
    + "".join(f'<DataField name="{n}" optype="continuous" dataType="{t}"/>' for n, t in (("x", "double"), ("y", "double"), ("z", "float"), ("w", "double"), ("n", "integer")))
    + '</DataDictionary><MODEL functionName="regression"><MiningSchema>'
    + "".join(f'<MiningField name="{n}"/>' for n in "xyzwn")
    + f"</MiningSchema><LocalTransformations>{SCALED}</LocalTransformations>"
)  # fmt: skip
LINEAR = MANY.replace("MODEL", "RegressionModel") + (
    f'<RegressionTable intercept="0.5">{TERMS}</RegressionTable></RegressionModel></PMML>'
)
LOW, HIGH = less("sx", 0.0)
RIGHT = Split([(p, Leaf([], s)) for p, s in zip(less("z", 0.1), "23", strict=True)])
WIDE_TREE = (
    MANY.replace("MODEL", "TreeModel")
    + node(Split([(LOW, Leaf([], "1")), (HIGH, RIGHT)]))
    + "</TreeModel></PMML>"
)
NAMES = ("sx", "z", "sy", "n", "px", "w")


def neuron(name: str, bias: float, *links: tuple[str, float]) -> str:
    cons = "".join(f'<Con from="{source}" weight="{weight}"/>' for source, weight in links)
    return f'<Neuron id="{name}" bias="{bias}">{cons}</Neuron>'


def network(inputs: tuple[str, ...], layers: list[str]) -> str:
    """The layers over the inputs, which are called as their fields; the output is the neuron `out`."""
    given = "".join(
        f'<NeuralInput id="{n}"><DerivedField dataType="double" optype="continuous"><FieldRef field="{n}"/></DerivedField></NeuralInput>'
        for n in inputs
    )
    return (
        f"<NeuralInputs>{given}</NeuralInputs>{''.join(layers)}"
        '<NeuralOutputs><NeuralOutput outputNeuron="out"><DerivedField dataType="double" optype="continuous"><FieldRef field="t"/>'
        "</DerivedField></NeuralOutput></NeuralOutputs></NeuralNetwork>"
    )


def layer(function: str, *neurons: str) -> str:
    return f'<NeuralLayer activationFunction="{function}">{"".join(neurons)}</NeuralLayer>'


NETWORK = (
    MANY.replace("MODEL", 'NeuralNetwork activationFunction="tanh"')
    + network(NAMES, [layer("tanh", neuron("out", 0.1, *((n, 0.01 * k) for k, n in enumerate(NAMES))))])
    + "</PMML>"
)
VECTORS = (
    MANY.replace("MODEL", "SupportVectorMachineModel")
    + '<RadialBasisKernelType gamma="0.1"/><VectorDictionary><VectorFields>'
    + "".join(f'<FieldRef field="{n}"/>' for n in NAMES)
    + '</VectorFields><VectorInstance id="v"><Array type="real" n="6">0.1 0.2 0.3 1 0.5 0.6</Array></VectorInstance></VectorDictionary>'
    '<SupportVectorMachine><SupportVectors><SupportVector vectorId="v"/></SupportVectors><Coefficients absoluteValue="0.5">'
    '<Coefficient value="2"/></Coefficients></SupportVectorMachine></SupportVectorMachineModel></PMML>'
)


@pytest.mark.parametrize("text", [LINEAR, WIDE_TREE, NETWORK, VECTORS])
def test_fields_that_are_computed_at_once_give_the_same_bits(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = read(text)
    rng = np.random.default_rng(3)
    columns = {i.name: rng.normal(size=40) for i in runtime.inputs}
    columns["z"][:5] = (0.1, np.nextafter(0.1, 1), np.float32(0.1), 1e300, -1e300)
    columns["n"] = rng.integers(-9, 9, 40)

    def outcome(rows: Any) -> Any:
        try:
            return runtime.predict({name: column[rows] for name, column in columns.items()})[
                "predictedValue"
            ].tolist()
        except PredictError as e:
            return dict(e.rows)

    spoiled = columns["y"].copy()
    together = [outcome([k]) for k in range(40)], outcome(range(5, 40))
    columns["y"] = np.where(np.arange(40) == 7, np.nan, spoiled)
    together += (outcome([7, 8]),)
    monkeypatch.setattr("udfs.models.runtimes.pmml.runtime._MANY", 0)
    apart = (outcome([7, 8]),)
    columns["y"] = spoiled
    assert together == ([outcome([k]) for k in range(40)], outcome(range(5, 40)), *apart)


def test_neurons_read_any_layer_before_theirs_and_nothing_of_one_that_they_do_not_read() -> None:
    """The reciprocal of 0 is infinite: a layer behind that reads finite values only is as finite as they are."""

    def of(*layers: str) -> str:
        return document(
            f'<NeuralNetwork functionName="regression" activationFunction="identity">{schema()}{network(("x", "y"), list(layers))}',
            numeric=True,
        )

    skipping = of(
        layer("square", neuron("a", 1, ("y", 2), ("x", 1)), neuron("b", 0, ("x", 3))),
        layer("identity", neuron("c", 0.5, ("b", 1), ("x", 10))),
        layer("identity", neuron("out", -1, ("c", 2), ("a", 1), ("c", 1))),
    )
    values = [
        (2 * y + x + 1) ** 2 + 3 * ((3 * x) ** 2 + 10 * x + 0.5) - 1 for x, y in ((-1.0, 0.0), (2.0, 3.0))
    ]
    expected(skipping, "predicted_t", values)
    infinite = of(
        layer("reciprocal", neuron("a", 0, ("y", 1))),
        layer("arctan", neuron("b", 0, ("a", 1))),
        layer("identity", neuron("out", 3, ("b", 4))),
    )
    expected(infinite, "predicted_t", [7.0, 3 + 8 * math.atan(1 / 3) / math.pi])


@pytest.mark.parametrize("method", ["average", "majorityVote", "sum"])
def test_a_forest_keeps_no_element_of_its_document(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = "regression" if method == "sum" else "classification"
    leaves = [Leaf([("a", 3), ("b", 1)], "1"), Leaf([("a", 1), ("b", 3)], "2")]
    grown = tree(Split(list(zip(less("x", 0.5), leaves, strict=True))), function)
    nodes: list[weakref.ref[Any]] = []

    def parsed(data: bytes) -> Document:
        found = parse(data)
        nodes.extend(map(weakref.ref, found.model.iter("Node")))
        return found

    monkeypatch.setattr("udfs.models.runtimes.pmml.runtime.parse", parsed)
    runtime = read(
        document(ensemble([grown, grown], method, function), function == "regression", ("a", "b", "1", "2"))
    )
    gc.collect()
    assert len(nodes) == 6
    assert [node() for node in nodes] == [None] * 6
    assert runtime.sample(1) is not None


def runtime_forest(runtime: PmmlRuntime) -> Any:
    """The forest inside a runtime, found where its score function keeps it."""
    plan = runtime._plan
    assert plan is not None
    cells = [c.cell_contents for c in plan.scorer.score.__closure__ or ()]
    return next(c for c in cells if isinstance(c, Forest))


def test_the_entity_of_a_network_is_the_neuron_of_the_category() -> None:
    said = output('name="e" feature="entityId"', 'name="l" feature="predictedValue" dataType="string"')
    ends = "".join(
        f'<NeuralOutput outputNeuron="{n}"><DerivedField dataType="double" optype="continuous"><NormDiscrete field="t" value="{c}"/></DerivedField></NeuralOutput>'
        for n, c in (("high", "c"), ("low", "a"))
    )
    layers = [layer("identity", neuron("low", 0, ("x", -1)), neuron("high", 0, ("x", 1)))]
    inner = network(("x",), layers)
    inner = inner[: inner.index("<NeuralOutputs>")] + f"<NeuralOutputs>{ends}</NeuralOutputs></NeuralNetwork>"
    text = document(
        f'<NeuralNetwork functionName="classification" activationFunction="identity">{schema()}{said}{inner}'
    )
    assert results(text) == {"e": ["low", "high"], "l": ["a", "c"]}
    with pytest.raises(UnprovenModelError, match="rank 2"):
        read(text.replace('name="e" ', 'name="e" rank="2" '))
