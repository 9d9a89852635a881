# ruff: noqa: E501 - documents are written in one line
"""What becomes of values that functions cannot give, of missing arguments, and of segments without a prediction."""

from __future__ import annotations

import math

import pytest

from schemas.errors import PredictError, UnprovenModelError
from tests.pmml_documents import Leaf, Split, document, ensemble, less, schema, tree
from tests.unit.test_pmml_functions import M, N, X, apply, expression_document, field, number, value
from tests.unit.test_pmml_models import output, read, results, simple

LN = '<DerivedField name="w" optype="continuous" dataType="double"><Apply function="ln"><FieldRef field="x"/></Apply></DerivedField>'
LOCAL = f"<LocalTransformations>{LN}</LocalTransformations>"
WORLD = f"<TransformationDictionary>{LN}</TransformationDictionary>"
BELOW = simple("w", "lessThan", 0)
TWO = [{"x": -1.0, "y": 0.0, "k": "red"}, {"x": 2.0, "y": 0.0, "k": "red"}]


def constant_line(intercept: float, terms: str = "") -> str:
    return f'<RegressionModel functionName="regression">{schema(False)}<RegressionTable intercept="{intercept}">{terms}</RegressionTable></RegressionModel>'


LOOKING = {
    "tree": f'<TreeModel functionName="regression">{schema()}<Node score="1"><True/><Node score="2">{BELOW}</Node><Node score="3"><True/></Node></Node></TreeModel>',
    "scorecard": f'<Scorecard functionName="regression" useReasonCodes="false">{schema()}<Characteristics><Characteristic><Attribute partialScore="1">{BELOW}</Attribute><Attribute partialScore="2"><True/></Attribute></Characteristic></Characteristics></Scorecard>',
    "rules": f'<RuleSetModel functionName="regression">{schema()}<RuleSet defaultScore="3"><RuleSelectionMethod criterion="firstHit"/><SimpleRule score="4">{BELOW}</SimpleRule></RuleSet></RuleSetModel>',
    "segments": f'<MiningModel functionName="regression">{schema()}<Segmentation multipleModelMethod="selectFirst"><Segment>{BELOW}{constant_line(1)}</Segment><Segment><True/>{constant_line(2)}</Segment></Segmentation></MiningModel>',
    "categorical": constant_line(0, '<CategoricalPredictor name="w" value="1" coefficient="3"/>'),
    "threshold neuron": f'<NeuralNetwork functionName="regression" activationFunction="threshold" threshold="0">{schema()}<NeuralInputs><NeuralInput id="1"><DerivedField optype="continuous" dataType="double"><FieldRef field="w"/></DerivedField></NeuralInput></NeuralInputs><NeuralLayer><Neuron id="2"><Con from="1" weight="1"/></Neuron></NeuralLayer><NeuralOutputs><NeuralOutput outputNeuron="2"><DerivedField optype="continuous" dataType="double"><FieldRef field="t"/></DerivedField></NeuralOutput></NeuralOutputs></NeuralNetwork>',
}  # fmt: skip


@pytest.mark.parametrize("kind", LOOKING)
def test_a_row_is_refused_where_a_model_looks_at_what_a_function_has_no_result_for(kind: str) -> None:
    text = document(WORLD + LOOKING[kind], numeric=True)
    assert len(results(text, TWO[1:])) == 1
    with pytest.raises(PredictError, match=r"in rows 0$"):
        results(text, TWO)


_LOG = apply("ln", X)


@pytest.mark.parametrize(
    "expression",
    [
        apply("if", apply("lessThan", _LOG, number(0)), number(1), number(2)),
        apply("if", apply("isIn", _LOG, number(0)), number(1), number(2)),
        apply("threshold", _LOG, number(0)),
        apply("median", apply("ln", X), apply("missing", X), number(3)),
        '<Discretize field="w" dataType="double" defaultValue="7"><DiscretizeBin binValue="1"><Interval closure="closedClosed" leftMargin="0" rightMargin="9"/></DiscretizeBin></Discretize>',
        '<NormDiscrete field="w" value="3"/>',
        '<MapValues outputColumn="o" dataType="double" defaultValue="5"><FieldColumnPair field="w" column="i"/><InlineTable><row><i>3</i><o>1</o></row></InlineTable></MapValues>',
    ],
)  # fmt: skip
def test_what_looks_at_an_undefined_value_has_no_result(expression: str) -> None:
    nothing = '<DefineFunction name="missing" optype="continuous" dataType="double"><ParameterField name="a"/><Apply function="if"><Apply function="isMissing"><FieldRef field="a"/></Apply><FieldRef field="a"/></Apply></DefineFunction>'
    text = expression_document(expression, extra=nothing + LN)
    assert math.isfinite(value(text, {"x": 2.0}))
    with pytest.raises(PredictError, match=r"has no value|has no 'out'"):
        value(text, {"x": -1.0})


GUARDED = {
    "and": (2, apply("greaterThan", X, number(0)), apply("greaterThan", _LOG, number(1))),
    "or": (1, apply("lessOrEqual", X, number(0)), apply("greaterThan", _LOG, number(1))),
}


@pytest.mark.parametrize("function", GUARDED)
def test_a_row_that_an_argument_decides_is_refused_for_no_later_one(function: str) -> None:
    said, guard, guarded = GUARDED[function]
    for x, answer in ((-1.0, said), (4.0, 1), (2.0, 2)):
        choice = apply("if", apply(function, guard, guarded), number(1), number(2))
        assert value(expression_document(choice), {"x": x}) == answer
    with pytest.raises(PredictError, match="has no value"):
        value(
            expression_document(apply("if", apply(function, guarded, guard), number(1), number(2))),
            {"x": -1.0},
        )


@pytest.mark.parametrize("operator", ["and", "or"])
def test_a_row_that_a_predicate_decides_is_refused_for_no_later_one(operator: str) -> None:
    guard = simple("x", "greaterThan" if operator == "and" else "lessOrEqual", 0)
    both = f'<CompoundPredicate booleanOperator="{operator}">{{}}{{}}</CompoundPredicate>'
    for order, refused in (((guard, BELOW), False), ((BELOW, guard), True)):
        attributes = f'<Attribute partialScore="1">{both.format(*order)}</Attribute><Attribute partialScore="2"><True/></Attribute>'
        text = document(
            WORLD
            + f'<Scorecard functionName="regression" useReasonCodes="false">{schema()}<Characteristics><Characteristic>{attributes}</Characteristic></Characteristics></Scorecard>',
            numeric=True,
        )
        assert list(results(text, TWO[1:]).values()) == [[2.0]]
        if refused:
            with pytest.raises(PredictError, match=r"in rows 0$"):
                results(text, TWO)
        else:
            assert list(results(text, TWO).values()) == [[2.0 if operator == "and" else 1.0, 2.0]]


def test_an_undefined_value_is_not_valid_and_not_missing() -> None:
    for function, said in (("isValid", 0), ("isNotValid", 1), ("isMissing", 0), ("isNotMissing", 1)):
        text = expression_document(apply("if", apply(function, _LOG), number(1), number(0)))
        assert value(text, {"x": -1.0}) == said


def test_functions_of_a_missing_argument_are_missing_and_go_by_the_rules_of_models() -> None:
    """As scikit-learn's `log1p` in front of boosting that knows missing values."""
    node = f'<Node id="a" score="1">{BELOW}</Node><Node id="b" score="5">{simple("w", "greaterOrEqual", 0)}</Node>'
    model = f'<TreeModel functionName="regression" missingValueStrategy="defaultChild">{schema()}{LOCAL}<Node id="r" defaultChild="b"><True/>{node}</Node></TreeModel>'
    text = document(model, numeric=True)
    assert {i.name for i in read(text).inputs if i.optional} == {"x"}
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (0.5, None, 3.0)]
    assert results(text, rows)["predicted_t"] == [1.0, 5.0, 5.0]


def test_a_row_is_not_refused_for_the_branch_that_it_does_not_take() -> None:
    rest = apply("modulo", N, M)
    guarded = apply("if", apply("notEqual", M, number(0, "integer")), rest, number(-1, "integer"))
    assert value(expression_document(guarded, "integer"), {"m": 0}) == -1
    assert value(expression_document(guarded, "integer"), {"m": 4}) == 3
    turned = apply("if", apply("equal", M, number(0, "integer")), number(-1, "integer"), rest)
    assert value(expression_document(turned, "integer"), {"m": 0}) == -1
    both = apply("+", guarded, rest)
    with pytest.raises(PredictError, match="no 64-bit result"):
        value(expression_document(both, "integer"), {"m": 0})
    given, other, none = field("p"), field("q"), number(0, "integer")
    body = apply(
        "+", apply("if", apply("equal", other, number(1, "integer")), given, none), apply("*", given, none)
    )
    parameters = '<ParameterField name="p"/><ParameterField name="q"/>'
    function = (
        f'<DefineFunction name="f" optype="continuous" dataType="integer">{parameters}{body}</DefineFunction>'
    )
    called = apply("f", rest, N, attributes='mapMissingTo="9"')
    with pytest.raises(PredictError, match="no 64-bit result"):  # asked for again outside the branch
        value(expression_document(called, "integer", function), {"m": 0})


def test_quotients_of_integers_are_reals_and_whole_ones_are_integers_again() -> None:
    assert value(expression_document(apply("/", apply("sum", N, M), number(4, "integer")))) == 2.5
    assert value(expression_document(apply("floor", apply("/", N, M)), "integer")) == 2
    with pytest.raises(PredictError, match="'out'"):
        value(expression_document(apply("/", N, M), "integer"))


@pytest.mark.parametrize(
    ("given", "pattern", "text"),
    [(N, "%3d", "  7"), (N, "%-4d|", "7   |"), (N, "%05d", "00007"), (X, "%.1f%%", "4.0%"), (X, "[%+8.2f]", "[   +4.00]")],
)  # fmt: skip
def test_numbers_are_written_by_patterns_of_printf(given: str, pattern: str, text: str) -> None:
    assert (
        value(expression_document(apply("formatNumber", given, number(pattern, "string")), "string")) == text
    )


@pytest.mark.parametrize(("given", "pattern"), [(N, "%f"), (X, "%d"), (X, "%e"), (X, "%.1f %.1f"), (X, "none"), (X, "%*f"), (X, "%999999999f"), (X, "%(a)f"), (N, "% %%d"), (X, "%0%%f")])  # fmt: skip
def test_other_patterns_are_refused(given: str, pattern: str) -> None:
    with pytest.raises(UnprovenModelError, match="the pattern"):
        read(expression_document(apply("formatNumber", given, number(pattern, "string")), "string"))


def votes(*bounds: float, method: str = "majorityVote", said: str = "") -> str:
    """Trees that say `a` below 0, `b` from a bound on, and nothing between."""
    children = [
        tree(Split([(simple("x", "lessThan", 0), Leaf([("a", 1)])), (simple("x", "greaterOrEqual", b), Leaf([("b", 1)]))]), target=False)
        for b in bounds
    ]  # fmt: skip
    text = ensemble(children, method, output=output('name="pb" feature="probability" value="b"'))
    return document(text.replace("multipleModelMethod", f"{said} multipleModelMethod"))


def at(x: float) -> list[dict[str, object]]:
    return [{"x": x, "y": 0.0, "k": "red"}]


def test_a_missing_prediction_is_a_vote_for_none_unless_the_document_says_otherwise() -> None:
    for said in ("", 'missingPredictionTreatment="continue"'):
        assert results(votes(1, 2, 3, said=said), at(2.5)) == {"pb": [1.0], "predicted_t": ["b"]}
        assert results(votes(1, 3, said=said), at(2.5))["predicted_t"] == ["b"]  # as many votes for none
        with pytest.raises(PredictError, match="in rows 0"):
            results(votes(1, 2, 3, said=said), at(1.5))
    continued = 'missingPredictionTreatment="continue" missingThreshold="0.3"'
    with pytest.raises(PredictError, match="in rows 0"):
        results(votes(1, 2, 3, said=continued), at(2.5))
    skipped = 'missingPredictionTreatment="skipSegment"'
    assert results(votes(1, 2, 3, said=skipped), at(1.5))["predicted_t"] == ["b"]
    with pytest.raises(PredictError, match="in rows 0"):
        results(votes(1, 2, 3, said='missingPredictionTreatment="returnMissing"'), at(2.5))


CHAINED = (
    f'<TreeModel functionName="regression">{schema(False)}<Output><OutputField name="z" feature="predictedValue" dataType="double" isFinalResult="false"/></Output><Node><True/><Node score="2">{simple("x", "lessThan", 0)}</Node></Node></TreeModel>',
    f'<TreeModel functionName="regression" missingValueStrategy="lastPrediction"><MiningSchema><MiningField name="z"/></MiningSchema><Node score="10"><True/><Node score="20">{simple("z", "lessThan", 5)}</Node></Node></TreeModel>',
)  # fmt: skip


def chain(said: str, conditions: tuple[str, str] = ("<True/>", "<True/>"), method: str = "modelChain") -> str:
    segments = "".join(f"<Segment>{c}{m}</Segment>" for c, m in zip(conditions, CHAINED, strict=True))
    return document(
        f'<MiningModel functionName="regression">{schema()}<Segmentation multipleModelMethod="{method}" {said}>{segments}</Segmentation></MiningModel>',
        numeric=True,
    )


def test_a_chain_goes_on_behind_a_missing_prediction_or_gives_none() -> None:
    assert results(chain(""), TWO)["predicted_t"] == [20.0, 10.0]
    for conditions in (("<True/>", "<True/>"), (simple("y", "lessThan", 1), "<True/>")):
        missing = chain('missingPredictionTreatment="returnMissing"', conditions)
        assert results(missing, TWO[:1])["predicted_t"] == [20.0]
        with pytest.raises(PredictError, match=r"no 'predicted_t' in rows 1$"):
            results(missing, TWO)
    idle = chain('missingPredictionTreatment="returnMissing"', (simple("y", "greaterThan", 1), "<True/>"))
    assert results(idle, TWO)["predicted_t"] == [10.0, 10.0]
    with pytest.raises(UnprovenModelError, match="a chain skips segments"):
        read(chain('missingPredictionTreatment="skipSegment"'))


def test_the_first_segment_with_a_prediction_is_selected_where_others_are_skipped() -> None:
    first, second = tree(Split([(less("x", 0.0)[0], Leaf([], "2"))]), "regression"), constant_line(7)
    segments = f"<Segment><True/>{first}</Segment><Segment><True/>{second}</Segment>"
    model = f'<MiningModel functionName="regression">{schema()}<Segmentation multipleModelMethod="selectFirst" SAID>{segments}</Segmentation></MiningModel>'
    text = document(model, numeric=True)
    assert results(text.replace("SAID", 'missingPredictionTreatment="skipSegment"'), TWO)["predicted_t"] == [
        2.0,
        7.0,
    ]
    with pytest.raises(PredictError, match=r"in rows 1$"):
        results(text.replace("SAID", ""), TWO)
    with pytest.raises(UnprovenModelError, match="missingThreshold"):
        read(text.replace("SAID", 'missingPredictionTreatment="skipSegment" missingThreshold="0.5"'))


def test_two_categories_without_a_link_have_probabilities_from_0_to_1() -> None:
    tables = '<RegressionTable targetCategory="a" intercept="0"><NumericPredictor name="x" coefficient="1"/></RegressionTable><RegressionTable targetCategory="b" intercept="0"/>'
    model = f'<RegressionModel functionName="classification">{schema()}<Output><OutputField name="pa" feature="probability" value="a"/><OutputField name="pb" feature="probability" value="b"/></Output>{tables}</RegressionModel>'
    found = results(document(model, classes="ab"), TWO)
    assert (found["pa"], found["pb"]) == ([0.0, 1.0], [1.0, 0.0])


def test_ordered_categories_by_a_link_of_categories_without_an_order_are_refused() -> None:
    tables = "".join(f'<RegressionTable targetCategory="{c}" intercept="0"/>' for c in "bac")
    model = f'<RegressionModel functionName="classification" normalizationMethod="METHOD">{schema()}{tables}</RegressionModel>'
    text = document(model).replace('name="t" optype="categorical"', 'name="t" optype="ordinal"')
    with pytest.raises(UnprovenModelError, match="not in the order of its values"):
        read(text.replace("METHOD", "logit"))
    with pytest.raises(UnprovenModelError, match="normalised by 'softmax'"):
        read(text.replace("METHOD", "softmax"))


def test_a_table_without_a_sum_leaves_no_probability_of_another() -> None:
    """The columns of three ordinal categories come from two sums each."""
    terms = "".join(
        f'<RegressionTable intercept="0" targetCategory="{c}">{t}</RegressionTable>'
        for c, t in (
            ("a", '<NumericPredictor name="x" coefficient="1"/>'),
            ("b", '<NumericPredictor name="y" coefficient="1"/>'),
            ("c", ""),
        )
    )
    asked = output('name="pc" optype="continuous" dataType="double" feature="probability" value="c"')
    inner = f'<RegressionModel functionName="classification" normalizationMethod="logit"><MiningSchema><MiningField name="c" usageType="target"/><MiningField name="x"/><MiningField name="y"/></MiningSchema>{asked}{terms}</RegressionModel>'
    outer = '<RegressionModel functionName="regression"><MiningSchema><MiningField name="pc"/></MiningSchema><RegressionTable intercept="0"><NumericPredictor name="pc" coefficient="1"/></RegressionTable></RegressionModel>'
    segments = f"<Segment><True/>{inner}</Segment><Segment><True/>{outer}</Segment>"
    text = document(
        f'<MiningModel functionName="regression">{schema()}<Segmentation multipleModelMethod="modelChain">{segments}</Segmentation></MiningModel>',
        numeric=True,
    )
    values = "".join(f'<Value value="{c}"/>' for c in "abc")
    category = f'<DataField name="c" optype="ordinal" dataType="string">{values}</DataField>'
    text = text.replace("</DataDictionary>", f"{category}</DataDictionary>")
    with pytest.raises(PredictError):
        results(text, [{"x": None, "y": 1.0, "k": "red"}])
