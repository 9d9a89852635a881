# ruff: noqa: E501 - documents are written in one line
"""What exporters write otherwise than the standard has it: their libraries' scores count."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import PredictError, UnprovenModelError
from tests.pmml_documents import Leaf, Split, document, ensemble, less, schema, tree
from tests.unit.test_pmml_models import output, read, results
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.runtime import load


def written_by(exporter: str, text: str) -> str:
    return text.replace("<Header/>", f'<Header><Application name="{exporter}"/></Header>')


def gaussian(name: str, *moments: tuple[float, float]) -> str:
    stats = "".join(
        f'<TargetValueStat value="{c}"><GaussianDistribution mean="{m}" variance="{v}"/></TargetValueStat>'
        for c, (m, v) in zip("ab", moments, strict=True)
    )
    return f'<BayesInput fieldName="{name}"><TargetValueStats>{stats}</TargetValueStats></BayesInput>'


def bayes(inputs: str) -> str:
    counts = "".join(f'<TargetValueCount value="{c}" count="{n}"/>' for c, n in (("a", 1), ("b", 3)))
    return document(
        f'<NaiveBayesModel functionName="classification" threshold="0.01">{schema()}<BayesInputs>{inputs}</BayesInputs>'
        f'<BayesOutput fieldName="t"><TargetValueCounts>{counts}</TargetValueCounts></BayesOutput></NaiveBayesModel>',
        classes="ab",
    )


def density(x: float, mean: float, variance: float) -> float:
    return math.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def test_inputs_of_naive_bayes_in_extensions_count() -> None:
    """Up to PMML 4.1 R's package writes numbers so; without them each row had the same probabilities."""
    text = bayes(f"<Extension>{gaussian('x', (0.0, 1.0), (2.0, 4.0))}</Extension>")
    a, b = density(0.5, 0.0, 1.0), 3 * density(0.5, 2.0, 4.0)
    found = results(text, [{"x": 0.5, "y": 0.0, "k": "red"}])
    assert found["probability_a"] == pytest.approx([a / (a + b)], rel=1e-12)


def test_naive_bayes_of_what_was_counted() -> None:
    """Poisson's distribution, by the threshold as any other; a fraction is no count, a missing value says nothing."""
    stats = "".join(
        f'<TargetValueStat value="{c}"><PoissonDistribution mean="{m}"/></TargetValueStat>'
        for c, m in (("a", 1.5), ("b", 4.0))
    )
    text = bayes(f'<BayesInput fieldName="x"><TargetValueStats>{stats}</TargetValueStats></BayesInput>')
    given = (0.0, 3.0, 12.0, -1.0, None, 1e307)
    found = results(text, [{"x": x, "y": 0.0, "k": "red"} for x in given])["probability_a"]
    for share, x in zip(found, given, strict=True):
        said = [1.0, 1.0]
        if x is not None:
            counts = 0 <= x < 100  # of so many as to be without end the density is 0
            said = [math.exp(-m) * m**x / math.factorial(int(x)) if counts else 0.0 for m in (1.5, 4.0)]
        a, b = max(said[0], 0.01), 3 * max(said[1], 0.01)
        assert share == pytest.approx(a / (a + b), rel=1e-12)
    with pytest.raises(PredictError, match="'x' counts, and holds a fraction in rows 0"):
        results(text, [{"x": 0.5, "y": 0.0, "k": "red"}])
    for odd in (stats.replace('PoissonDistribution mean="4.0"', 'GaussianDistribution mean="4.0" variance="1"'),
                stats.replace("4.0", "0"), stats.replace("Poisson", "Any")):  # fmt: skip
        with pytest.raises(UnprovenModelError, match=r"statistics|variance|not known"):
            read(text.replace(stats, odd))


@pytest.mark.parametrize(
    ("exporter", "least"), [("Rattle/PMML", 0.0), ("SoftwareAG PMML Generator", 0.0), ("other", 0.01)]
)
def test_the_threshold_of_naive_bayes_is_for_densities_of_zero_in_r(exporter: str, least: float) -> None:
    """e1071 takes densities as they are, unless they are 0; by the standard none is below the threshold."""
    text = written_by(exporter, bayes(gaussian("x", (0.0, 1.0), (1000.0, 250_000.0))))
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (1.0, 3.5, 100.0)]
    found = results(text, rows)
    for k, x in enumerate((1.0, 3.5, 100.0)):
        a = max(density(x, 0.0, 1.0), least) or 0.01
        b = 3 * max(density(x, 1000.0, 250_000.0), least)
        assert found["probability_a"][k] == pytest.approx(a / (a + b), rel=1e-9)


def spark(method: str, threshold: str, order: str = "ba") -> str:
    first, second = order
    return written_by(
        "Apache Spark MLlib",
        document(
            f'<RegressionModel functionName="classification" {method}>{schema()}'
            f'<RegressionTable intercept="-1" targetCategory="{first}"><NumericPredictor name="x" coefficient="1"/></RegressionTable>'
            f'<RegressionTable intercept="{threshold}" targetCategory="{second}"/></RegressionModel>',
            classes="ab",
        ),
    )


MARGINS = [{"x": x, "y": 0.0, "k": "red"} for x in (0.5, 1.0, 1.25, 2.5)]  # -0.5, 0, 0.25, 1.5


def test_a_support_vector_machine_of_spark_compares_with_its_threshold() -> None:
    """By the standard the second category would have 1 less the first one's sum, so b began at 0.5."""
    found = results(spark("", "0.0"), MARGINS)
    assert found == {"predicted_t": ["a", "a", "b", "b"]}
    assert results(spark("", "0.25"), MARGINS)["predicted_t"] == ["a", "a", "a", "b"]


def test_a_logistic_regression_of_spark_compares_with_its_threshold() -> None:
    threshold = -math.log(1 / 0.7 - 1)  # as Spark writes 0.7
    found = results(spark('normalizationMethod="logit"', repr(threshold)), MARGINS)
    assert found["predicted_t"] == ["a", "a", "a", "b"]
    assert found["probability_b"] == pytest.approx([1 / (1 + math.exp(1 - row["x"])) for row in MARGINS])
    never = results(spark('normalizationMethod="logit"', "1.7976931348623157E308"), MARGINS)
    assert never["predicted_t"] == ["a"] * 4


def test_the_namespace_may_say_the_version_alone() -> None:
    text = spark("", "0.0").replace(' version="4.3"', "")
    assert results(text, MARGINS)["predicted_t"] == ["a", "a", "b", "b"]


def test_trees_of_xgboost_by_r_compare_as_float32() -> None:
    """R's package pmml declares the fields double; in XGBoost 2.45 is not less than 2.45, which is 2.4500000477."""
    trees = (
        f'<TreeModel functionName="regression" algorithmName="xgboost" splitCharacteristic="multiSplit">{schema()}<Node><True/>'
        '<Node score="1"><SimplePredicate field="x" operator="lessThan" value="2.4500000477"/></Node>'
        '<Node score="2"><SimplePredicate field="x" operator="greaterOrEqual" value="2.4500000477"/></Node>'
        '<Node score="3"><SimplePredicate field="x" operator="isMissing"/></Node></Node></TreeModel>'
    )
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (2.4, 2.45, 2.5)]
    text = document(trees, numeric=True)
    assert results(written_by("SoftwareAG PMML Generator", text), rows)["predicted_t"] == [1, 2, 2]
    assert results(written_by("other", text), rows)["predicted_t"] == [1, 1, 2]


def test_a_threshold_of_lightgbm_may_be_infinite() -> None:
    """It parts rows with a value from rows without one so."""
    trees = (
        f'<TreeModel functionName="regression" missingValueStrategy="none" noTrueChildStrategy="returnLastPrediction">{schema()}'
        '<Node score="2"><True/><Node score="1"><SimplePredicate field="x" operator="lessOrEqual" value="Infinity"/></Node>'
        '<Node score="3"><SimplePredicate field="x" operator="lessThan" value="-Infinity"/></Node></Node></TreeModel>'
    )
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (-1e300, 1e308)]
    asked = trees.replace(
        '<Node score="1"><SimplePredicate field="x"', '<Node score="1"><SimplePredicate field="y"'
    )
    assert results(document(trees, numeric=True), rows)["predicted_t"] == [1, 1]
    assert results(document(asked.replace("-Inf", "Inf"), numeric=True), rows)["predicted_t"] == [1, 1]
    missing = trees.replace(
        "<True/><Node", '<True/><Node score="5"><SimplePredicate field="x" operator="isMissing"/></Node><Node'
    )
    assert results(document(missing, numeric=True), [{"y": 0.0, "k": "red"}])["predicted_t"] == [5]
    condition = (
        f'<MiningModel functionName="regression">{schema()}<Segmentation multipleModelMethod="selectFirst"><Segment>'
        f'<SimplePredicate field="x" operator="lessThan" value="Infinity"/>{trees}</Segment></Segmentation></MiningModel>'
    )
    assert results(document(condition, numeric=True), rows)["predicted_t"] == [1, 1]
    with pytest.raises(UnprovenModelError, match="'Infinity' in SimplePredicate 'x' is no double"):
        results(document(trees.replace("lessOrEqual", "equal"), numeric=True), rows)


ASKED = {
    "isMissing": (
        '<Node score="1"><SimplePredicate field="x" operator="lessThan" value="1"/></Node>'
        '<Node score="2"><SimplePredicate field="x" operator="greaterOrEqual" value="1"/></Node>'
        '<Node score="3"><SimplePredicate field="x" operator="isMissing"/></Node>'
    ),
    "surrogate": (
        '<Node score="1"><CompoundPredicate booleanOperator="surrogate"><SimplePredicate field="x" operator="lessThan" value="1"/>'
        '<False/></CompoundPredicate></Node><Node score="3"><True/></Node>'
    ),
}


@pytest.mark.parametrize("asked", ASKED)
def test_a_field_whose_absence_a_tree_has_a_rule_for_is_optional(asked: str) -> None:
    """R's gbm and xgboost have a third child for missing values, and no missing value strategy."""
    trees = f'<TreeModel functionName="regression">{schema()}<Node><True/>{ASKED[asked]}</Node></TreeModel>'
    runtime = read(document(trees, numeric=True))
    assert {i.name: i.optional for i in runtime.inputs} == {"x": True, "y": False, "k": False}
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (0.0, None)]
    assert results(document(trees, numeric=True), rows)["predicted_t"] == [1, 3]


@pytest.mark.parametrize("usage", ["supplementary", "group", "order"])
def test_a_field_that_is_not_active_is_an_input_only_where_it_is_read(usage: str) -> None:
    """SPSS lists the fields of its training so; by the standard they are not needed to score."""
    mining = schema().replace('name="k"', f'name="k" usageType="{usage}"')
    model = (
        f'<RegressionModel functionName="regression">{mining}<RegressionTable intercept="1">'
        '<NumericPredictor name="x" coefficient="2"/>MORE</RegressionTable></RegressionModel>'
    )
    unread = document(model.replace("MORE", ""), numeric=True)
    assert [i.name for i in read(unread).inputs] == ["x", "y"]
    assert results(unread, [{"x": 3.0, "y": 0.0}])["predicted_t"] == [7]
    asked = document(
        model.replace("MORE", '<CategoricalPredictor name="k" value="red" coefficient="5"/>'), numeric=True
    )
    assert results(asked, [{"x": 3.0, "y": 0.0, "k": "red"}])["predicted_t"] == [12]


def network(inputs: str = "", extra: str = "") -> str:
    neurons = "".join(
        f'<Neuron id="{c}" bias="{b}"><Con from="i" weight="{w}"/></Neuron>'
        for c, b, w in (("a", 0, 1), ("b", 1, -1))
    )
    outputs = "".join(
        f'<NeuralOutput outputNeuron="{c}"><DerivedField datatype="string" optype="categorical"><NormDiscrete field="t" value="{c}"/></DerivedField></NeuralOutput>'
        for c in "ba"
    )
    return document(
        f'<NeuralNetwork functionName="classification" activationFunction="logistic">{schema()}{extra}'
        f'<NeuralInputs><NeuralInput id="i"><DerivedField datatype="double" optype="continuous">{inputs}</DerivedField></NeuralInput></NeuralInputs>'
        f'<NeuralLayer normalizationMethod="simplemax">{neurons}</NeuralLayer><NeuralOutputs>{outputs}</NeuralOutputs></NeuralNetwork>',
        classes=("a", "b", "MISSING_VALUE"),
    )


def test_a_neural_network_of_rapidminer() -> None:
    """It writes `datatype`, and a category MISSING_VALUE of the target for which there is no neuron."""
    text = network('<FieldRef field="x"/>')
    a, b = ([1 / (1 + math.exp(-z)) for z in zs] for zs in ((3.0, -2.0), (1 - 3.0, 1 + 2.0)))
    found = results(text, [{"x": x, "y": 0.0, "k": "red"} for x in (3.0, -2.0)])
    assert found["predicted_t"] == ["a", "b"]
    assert found["probability_a"] == pytest.approx([p / (p + q) for p, q in zip(a, b, strict=True)])
    assert found["probability_MISSING_VALUE"] == [0.0, 0.0]
    with pytest.raises(UnprovenModelError, match="two neural outputs are for one category"):
        results(text.replace('field="t" value="b"', 'field="t" value="a"'))


def test_derived_fields_may_write_their_type_as_rapidminer_does() -> None:
    model = (
        f'<RegressionModel functionName="regression">{schema()}<LocalTransformations><DerivedField name="d" datatype="double">'
        '<FieldRef field="x"/></DerivedField></LocalTransformations><RegressionTable intercept="1">'
        '<NumericPredictor name="d" coefficient="2"/></RegressionTable></RegressionModel>'
    )
    assert results(document(model, numeric=True))["predicted_t"] == [-1, 5]


def test_a_line_through_zero_and_a_negative_mean() -> None:
    """R's scaling: (x + 4) / 2, by the points 0 and -4."""
    line = '<NormContinuous field="x"><LinearNorm orig="0" norm="2"/><LinearNorm orig="-4" norm="0"/></NormContinuous>'
    found = results(network(line), [{"x": 2.0, "y": 0.0, "k": "red"}])
    a, b = 1 / (1 + math.exp(-3.0)), 1 / (1 + math.exp(2.0))
    assert found["probability_a"] == pytest.approx([a / (a + b)])


def test_raw_values_of_targets_by_sas_say_nothing_of_scores() -> None:
    raw = '<Targets><Target field="t"><TargetValue value="a" rawDataValue="A  "/></Target></Targets>'
    plain = network('<FieldRef field="x"/>')
    assert results(network('<FieldRef field="x"/>', raw)) == results(plain)


def test_the_treatment_of_missing_predictions_by_its_name_before_4_4() -> None:
    """JPMML wrote `x-missingPredictionTreatment` in PMML 4.3."""
    ways = [(p, Leaf([], score)) for p, score in zip(less("x", 0.0), ("1", "2"), strict=True)]
    sure = tree(Split(ways), "regression", target=False)
    unsure = sure.replace('field="x"', 'field="y"')
    text = document(ensemble([sure, unsure], "average", "regression"), numeric=True)
    rows = [{"x": 1.0, "y": None, "k": "red"}]
    named = text.replace("<Segmentation ", '<Segmentation x-missingPredictionTreatment="skipSegment" ')
    assert results(named, rows)["predicted_t"] == [2]
    with pytest.raises(PredictError):
        results(text, rows)


def derived(expression: str, version: str = "4_3", fields: str = "") -> str:
    """A regression whose prediction is an expression."""
    text = document(
        f'<RegressionModel functionName="regression">{schema()}<LocalTransformations>'
        f'<DerivedField name="d" dataType="double" optype="continuous">{expression}</DerivedField></LocalTransformations>'
        '<RegressionTable intercept="0"><NumericPredictor name="d" coefficient="1"/></RegressionTable></RegressionModel>',
        numeric=True,
        version=version,
    )
    return text.replace('<MiningField name="y"/>', fields) if fields else text


def test_functions_by_their_names_before_the_standard_had_them() -> None:
    """JPMML wrote `x-ln1p`, `x-expm1` and others in PMML 4.3."""
    rows = [{"x": 0.5, "y": 0.0, "k": "red"}]
    for name, value in (("ln1p", math.log1p(0.5)), ("expm1", math.expm1(0.5)), ("rint", 0.0)):
        text = derived(f'<Apply function="x-{name}"><FieldRef field="x"/></Apply>')
        assert results(text, rows)["predicted_t"] == pytest.approx([value], rel=1e-15)
    with pytest.raises(UnprovenModelError, match="'x-half' is not known"):
        read(derived('<Apply function="x-half"><FieldRef field="x"/></Apply>'))


def test_treatments_of_fields_by_their_names_before_4_4() -> None:
    """JPMML wrote `x-invalidValueReplacement` and `x-returnInvalid` in PMML 4.3."""
    both = '<Apply function="sum"><FieldRef field="x"/><FieldRef field="y"/></Apply>'
    bounded = '<DataField name="y" optype="continuous" dataType="double"><Interval closure="closedClosed" leftMargin="0"/></DataField>'
    treated = '<MiningField name="y" missingValueTreatment="x-returnInvalid" invalidValueTreatment="asIs" x-invalidValueReplacement="7"/>'
    text = derived(both, fields=treated).replace(
        '<DataField name="y" optype="continuous" dataType="double"/>', bounded
    )
    assert results(text, [{"x": 1.0, "y": y, "k": "red"} for y in (2.0, -3.0)])["predicted_t"] == [3.0, 8.0]
    with pytest.raises(PredictError, match="'y' is missing"):
        results(text, [{"x": 1.0, "y": None, "k": "red"}])


def test_what_a_missing_result_is_replaced_by_had_another_name_in_4_1() -> None:
    """There `mapMissingTo` is what is called `defaultValue` since: a missing argument alone is not replaced."""
    total = '<Apply function="sum" mapMissingTo="-1"><FieldRef field="x"/><FieldRef field="y"/></Apply>'
    rows = [{"x": x, "y": y, "k": "red"} for x, y in ((1.0, 2.0), (1.0, None), (None, None))]
    assert results(derived(total, "4_1"), rows)["predicted_t"] == [3.0, 1.0, -1.0]
    assert results(derived(total, "4_2"), rows)["predicted_t"] == [3.0, -1.0, -1.0]


def test_functions_of_sas_name_their_argument_in_a_constant() -> None:
    function = (
        '<TransformationDictionary><DefineFunction name="NAME" optype="categorical" dataType="string">'
        '<ParameterField name="FMTWIDTH" optype="continuous"/><ParameterField name="AnyCInput" optype="categorical"/>'
        '<Apply function="trimBlanks"><Apply function="uppercase"><Apply function="substring"><FieldRef field="AnyCInput"/>'
        "<Constant>1</Constant><Constant>FMTWIDTH</Constant></Apply></Apply></Apply></DefineFunction></TransformationDictionary>"
    )
    model = (
        f'{function}<RegressionModel functionName="regression">{schema()}<LocalTransformations><DerivedField name="d" dataType="string" optype="categorical">'
        '<Apply function="NAME"><Constant>2</Constant><FieldRef field="k"/></Apply></DerivedField></LocalTransformations>'
        '<RegressionTable intercept="1"><CategoricalPredictor name="d" value="RE" coefficient="2"/></RegressionTable></RegressionModel>'
    )
    text = document(model.replace("NAME", "SAS-EM-String-Normalize"), numeric=True)
    assert results(text)["predicted_t"] == [3, 1]
    with pytest.raises(UnprovenModelError, match="'FMTWIDTH'"):
        results(document(model.replace("NAME", "other"), numeric=True))


def test_residuals_that_are_not_wanted_need_no_observed_target() -> None:
    """SAS writes them into each document."""
    fields = output(
        'name="P_t" feature="predictedValue" dataType="double"',
        'name="R_t" feature="residual" dataType="double"',
    )
    text = document(
        f'<RegressionModel functionName="regression">{schema()}{fields}<RegressionTable intercept="1">'
        '<NumericPredictor name="x" coefficient="2"/></RegressionTable></RegressionModel>',
        numeric=True,
    )
    artifact = Artifact(text.encode(), None, Path())
    assert "t" in [i.name for i in load(artifact, WantedSignature()).inputs]
    runtime = load(artifact, WantedSignature(outputs=[("P_t", "P_t")]))
    assert [i.name for i in runtime.inputs] == ["x", "y", "k"]
    columns = {"x": np.array([3.0]), "y": np.array([0.0]), "k": np.array(["red"], object)}
    assert runtime.predict(columns)["P_t"].tolist() == [7.0]


def test_an_extension_with_a_part_of_the_model_is_refused() -> None:
    """It would be left out in silence; other extensions say nothing of scores."""
    model = (
        f'<RegressionModel functionName="regression">{schema()}<RegressionTable intercept="1">'
        '<NumericPredictor name="x" coefficient="2"/><Extension name="e">HELD</Extension></RegressionTable></RegressionModel>'
    )
    plain = document(model.replace("HELD", "<Array>1 2</Array>"), numeric=True)
    assert results(plain)["predicted_t"] == [-1, 5]
    with pytest.raises(UnprovenModelError, match="an extension of RegressionTable holds a NumericPredictor"):
        read(document(model.replace("HELD", '<NumericPredictor name="y" coefficient="1"/>'), numeric=True))
