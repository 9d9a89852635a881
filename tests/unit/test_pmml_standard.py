# ruff: noqa: E501 - documents are written in one line
"""Rare parts of the standard that were passed over in silence, crashed or took for ever."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.errors import PredictError, UnprovenModelError
from tests.pmml_documents import Leaf, document, ensemble, schema, tree
from tests.unit.test_pmml_models import ROWS, output, read, results, simple
from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.types import Type


def line(intercept: float, fields: str = "") -> str:
    return (
        f'<RegressionModel functionName="regression">{schema(False)}{fields}<RegressionTable intercept="{intercept}">'
        '<NumericPredictor name="x" coefficient="1"/></RegressionTable></RegressionModel>'
    )


def test_an_output_of_a_segment_that_is_not_used_has_no_value() -> None:
    below, other = simple("x", "lessThan", 0), simple("x", "greaterOrEqual", 0)
    fields = output('name="second" feature="predictedValue" segmentId="2" dataType="double"')
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (-3.0, 5.0)]

    def combined(method: str, *conditions: str) -> str:
        segments = "".join(f'<Segment id="{k}">{c}{line(k)}</Segment>' for k, c in enumerate(conditions, 1))
        return document(
            f'<MiningModel functionName="regression">{schema()}{fields}<Segmentation multipleModelMethod="{method}">{segments}</Segmentation></MiningModel>',
            numeric=True,
        )

    for text in (combined("selectFirst", below, "<True/>"), combined("modelChain", below, other)):
        with pytest.raises(PredictError, match=r"no 'second' in rows 0$"):
            results(text, rows)
        assert results(text, rows[1:]) == {"second": [7.0], "predicted_t": [7.0]}


@pytest.mark.parametrize("method", ["sum", "median"])
def test_an_output_of_a_segment_of_an_ensemble(method: str) -> None:
    """As scikit-learn's forests are exported with the node that each tree ends in."""
    trees = [
        f'<TreeModel functionName="regression">{schema(False)}<Node id="r"><True/><Node id="low" score="{k}">{simple("x", "lessThan", k)}</Node><Node id="high" score="{10 * k}">{simple("x", "greaterOrEqual", k)}</Node></Node></TreeModel>'
        for k in (1, 3)
    ]
    fields = output(
        'name="n1" feature="entityId" segmentId="1" dataType="string"',
        'name="n2" feature="entityId" segmentId="2" dataType="string"',
        'name="p2" feature="predictedValue" segmentId="2" dataType="double"',
    )
    text = document(
        f'<MiningModel functionName="regression">{schema()}{fields}<Segmentation multipleModelMethod="{method}">'
        f'<Segment id="1"><True/>{trees[0]}</Segment><Segment id="2">{simple("y", "greaterThan", 0)}{trees[1]}</Segment></Segmentation></MiningModel>',
        numeric=True,
    )
    found = results(text, [{"x": 2.0, "y": 1.0, "k": "red"}, {"x": 0.0, "y": 1.0, "k": "red"}])
    assert (found["n1"], found["n2"], found["p2"]) == (["high", "low"], ["low", "low"], [3.0, 3.0])
    assert found["predicted_t"] == ([13.0, 4.0] if method == "sum" else [6.5, 2.0])
    with pytest.raises(PredictError, match="no 'n2' in rows 0"):
        results(text, [{"x": 2.0, "y": -1.0, "k": "red"}])
    asked = document(
        ensemble([*map(tree_of, "ab")], "average", output=output('name="n" feature="entityId" segmentId="1"'))
    )
    assert results(asked)["n"] == ["n", "n"]


def tree_of(category: str) -> str:
    return tree(Leaf([(category, 1)]), target=False)


def test_a_set_of_several_arrays_is_refused() -> None:
    asked = '<SimpleSetPredicate field="x" booleanOperator="isIn"><Array type="real">5</Array><Array type="real">15</Array></SimpleSetPredicate>'
    tree = f'<TreeModel functionName="regression">{schema()}<Node score="0"><True/><Node score="1">{asked}</Node></Node></TreeModel>'
    with pytest.raises(UnprovenModelError, match="more than one Array"):
        read(document(tree, numeric=True))


@pytest.mark.parametrize("feature", ["predictedValue", "probability", "confidence"])
def test_a_rank_that_is_not_known_is_refused(feature: str) -> None:
    fields = output(f'name="o" feature="{feature}" rank="2" dataType="double"')
    with pytest.raises(UnprovenModelError, match="rank 2"):
        read(document(line(1, fields), numeric=True))


def nested(depth: int, operator: str) -> str:
    if not depth:
        return simple("x", "lessThan", 1) + simple("y", "lessThan", 2)
    inner = (
        f'<CompoundPredicate booleanOperator="{operator}">{nested(depth - 1, operator)}</CompoundPredicate>'
    )
    return inner * 2


@pytest.mark.parametrize("operator", ["and", "xor"])
def test_predicates_that_grow_with_each_level_are_refused_before_they_take_for_ever(operator: str) -> None:
    tree = (
        f'<TreeModel functionName="regression" missingValueStrategy="lastPrediction">{schema()}<Node score="0"><True/><Node score="1">'
        f'<CompoundPredicate booleanOperator="{operator}">{nested(10, operator)}</CompoundPredicate></Node></Node></TreeModel>'
    )
    with pytest.raises(UnprovenModelError, match="nested too deeply for how wide"):
        read(document(tree, numeric=True))


def test_a_long_chain_whose_conditions_ask_the_segment_before() -> None:
    segments = ""
    for k in range(400):
        before = f"o{k - 1}" if k else "x"
        made = output(f'name="o{k}" feature="predictedValue" dataType="double" isFinalResult="false"')
        model = line(1, made).replace('name="x"', f'name="{before}"')
        segments += f'<Segment id="{k}">{simple(before, "greaterThan", -9)}{model}</Segment>'
    text = document(
        f'<MiningModel functionName="regression">{schema()}<Segmentation multipleModelMethod="modelChain">{segments}</Segmentation></MiningModel>',
        numeric=True,
    )
    assert results(text)["predicted_t"] == [399.0, 402.0]


def test_outputs_that_rest_on_each_other_too_deeply_give_a_reason() -> None:
    fields = "".join(
        f'<OutputField name="o{k}" feature="transformedValue" dataType="double" isFinalResult="{str(k == 1499).lower()}">'
        f'<Apply function="+"><FieldRef field="{f"o{k - 1}" if k else "x"}"/><Constant dataType="double">1</Constant></Apply></OutputField>'
        for k in range(1500)
    )
    with pytest.raises(PredictError, match="rest on each other"):
        results(document(line(1, f"<Output>{fields}</Output>"), numeric=True))


def test_a_scorecard_without_baselines_has_a_score_and_no_reasons() -> None:
    card = (
        f'<Scorecard functionName="regression" initialScore="10">{schema()}OUTPUT<Characteristics><Characteristic>'
        f'<Attribute partialScore="5">{simple("x", "lessThan", 0)}</Attribute><Attribute partialScore="7"><True/></Attribute>'
        "</Characteristic></Characteristics></Scorecard>"
    )
    plain = document(card.replace("OUTPUT", ""), numeric=True)
    assert results(plain)["predicted_t"] == [15.0, 17.0]
    asked = card.replace("OUTPUT", output('name="r" feature="reasonCode" rank="1" dataType="string"'))
    with pytest.raises(UnprovenModelError, match="asks for reason 1, and the model has 0"):
        read(document(asked, numeric=True))
    told = asked.replace("<Characteristic>", '<Characteristic baselineScore="5" reasonCode="R">')
    assert results(document(told, numeric=True))["r"] == ["R", ""]


def test_reasons_that_are_asked_for_beyond_those_there_are_cost_no_score() -> None:
    asked = output(*(f'name="r{k}" feature="reasonCode" rank="{k}" dataType="string"' for k in (1, 2, 3, 4)))
    card = (
        f'<Scorecard functionName="regression" initialScore="0">{schema()}{asked}<Characteristics>'
        f'<Characteristic baselineScore="10" reasonCode="A"><Attribute partialScore="5">{simple("x", "lessThan", 0)}</Attribute><Attribute partialScore="15"><True/></Attribute></Characteristic>'
        f'<Characteristic baselineScore="4" reasonCode="B"><Attribute partialScore="1">{simple("k", "equal", "red")}</Attribute><Attribute partialScore="9"><True/></Attribute></Characteristic></Characteristics></Scorecard>'
    )
    found = results(document(card, numeric=True), [*ROWS, {"x": -1.0, "y": 0.0, "k": "blue"}])
    assert found["predicted_t"] == [6.0, 24.0, 14.0]
    assert [found[f"r{k}"] for k in (1, 2, 3, 4)] == [["A", "", "A"], ["B", "", ""], [""] * 3, [""] * 3]


def test_training_rows_that_are_not_transformed_are_transformed() -> None:
    """As in the standard's example of nearest neighbours."""
    rows = "".join(
        f"<row><i>{i}</i><x>{x}</x><k>{k}</k><t>{t}</t></row>"
        for i, x, k, t in ((1, 10, "red", 1), (2, 20, "blue", 5), (3, 60, "red", 9))
    )
    model = (
        f'<NearestNeighborModel functionName="regression" numberOfNeighbors="1" instanceIdVariable="i">{schema()}'
        + output('name="nearest" feature="entityId" rank="1" dataType="string"')
        + '<LocalTransformations><DerivedField name="sx" optype="continuous" dataType="double"><NormContinuous field="x">'
        '<LinearNorm orig="0" norm="0"/><LinearNorm orig="100" norm="1"/></NormContinuous></DerivedField>'
        '<DerivedField name="red" optype="continuous" dataType="double"><NormDiscrete field="k" value="red"/></DerivedField></LocalTransformations>'
        '<TrainingInstances isTransformed="false"><InstanceFields>'
        + "".join(f'<InstanceField field="{f}" column="{f}"/>' for f in "ixkt")
        + f"</InstanceFields><InlineTable>{rows}</InlineTable></TrainingInstances>"
        '<ComparisonMeasure kind="distance"><euclidean/></ComparisonMeasure>'
        '<KNNInputs><KNNInput field="sx"/><KNNInput field="red"/></KNNInputs></NearestNeighborModel>'
    )
    asked = [{"x": 19.0, "y": 0.0, "k": "red"}, {"x": 50.0, "y": 0.0, "k": "blue"}]
    found = results(document(model, numeric=True), asked)
    assert (found["nearest"], found["predicted_t"]) == (["1", "2"], [1.0, 5.0])
    with pytest.raises(UnprovenModelError, match="'sx'"):
        results(document(model.replace('isTransformed="false"', 'isTransformed="true"'), numeric=True))
    with pytest.raises(UnprovenModelError, match="no 'x'"):
        results(document(model.replace('<InstanceField field="x" column="x"/>', ""), numeric=True))
    with pytest.raises(UnprovenModelError, match="no 'sx'"):
        results(document(model.replace("<x>60</x>", "<x>much</x>"), numeric=True))


def test_nested_calls_that_map_missing_values_are_computed_once() -> None:
    inner = '<FieldRef field="x"/>'
    for _ in range(100):
        inner = (
            f'<Apply function="+" mapMissingTo="0">{inner}<Constant dataType="double">1</Constant></Apply>'
        )
    derived = f'<LocalTransformations><DerivedField name="d" optype="continuous" dataType="double">{inner}</DerivedField></LocalTransformations>'
    text = document(line(0, derived).replace('Predictor name="x"', 'Predictor name="d"'), numeric=True)
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (2.5, None)]
    assert results(text, rows)["predictedValue"] == [102.5, 99.0]


def test_a_network_without_targets_is_refused() -> None:
    network = (
        f'<NeuralNetwork functionName="regression" activationFunction="identity">{schema(False)}<NeuralInputs><NeuralInput id="i">'
        '<DerivedField optype="continuous" dataType="double"><FieldRef field="x"/></DerivedField></NeuralInput></NeuralInputs>'
        '<NeuralLayer><Neuron id="n"><Con from="i" weight="1"/></Neuron></NeuralLayer><NeuralOutputs/></NeuralNetwork>'
    )
    with pytest.raises(UnprovenModelError, match="not one for each target"):
        read(document(network, numeric=True))


LOGARITHM = (
    '<LocalTransformations><DerivedField name="d" optype="continuous" dataType="double"><Apply function="ln">'
    '<FieldRef field="x"/></Apply></DerivedField></LocalTransformations>'
)
OF_LOGARITHM = (
    f'<TreeModel functionName="regression">{schema(False)}{LOGARITHM}<Node score="1"><True/><Node score="2">'
    f'{simple("d", "lessThan", 1)}</Node><Node score="3"><True/></Node></Node></TreeModel>'
)


@pytest.mark.parametrize("method", ["selectFirst", "modelChain", "sum"])
def test_a_row_is_not_refused_for_a_segment_that_is_not_for_it(method: str) -> None:
    """Whether the rows beside it need the segment, or not."""
    above, below = simple("x", "greaterThan", 0), simple("x", "lessOrEqual", 0)
    text = document(
        f'<MiningModel functionName="regression">{schema()}<Segmentation multipleModelMethod="{method}">'
        f"<Segment>{above}{OF_LOGARITHM}</Segment><Segment>{below}{line(7)}</Segment></Segmentation></MiningModel>",
        numeric=True,
    )
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (-1.0, 2.0, 5.0)]
    assert results(text, rows)["predicted_t"] == [6.0, 2.0, 3.0]
    assert results(text, rows[:1])["predicted_t"] == [6.0]


def test_a_row_is_refused_for_what_several_segments_read_wherever_it_is_read() -> None:
    """The first to read a field is not for the row, the second is."""
    fields = LOGARITHM.replace("LocalTransformations", "TransformationDictionary")
    model = OF_LOGARITHM.replace(LOGARITHM, "")
    text = document(
        f'{fields}<MiningModel functionName="regression">{schema()}<Segmentation multipleModelMethod="selectFirst">'
        f"<Segment>{simple('x', 'greaterThan', 0)}{model}</Segment><Segment><True/>{model}</Segment></Segmentation></MiningModel>",
        numeric=True,
    )
    with pytest.raises(PredictError, match=r"^the field 'd' has no value in rows 0"):
        results(text, [{"x": x, "y": 0.0, "k": "red"} for x in (-1.0, 2.0)])
    assert results(text, [{"x": 2.0, "y": 0.0, "k": "red"}])["predicted_t"] == [2.0]


def test_what_is_refused_while_computed_for_some_rows_is_refused_for_others_that_ask_for_it() -> None:
    batch = Batch(3, {})

    def compute(given: Batch) -> Column:
        given.refuse(np.array([True, True, False]), "why")
        return Column(np.zeros(3))

    symbol = Symbol("s", Type.DOUBLE, compute)
    batch.within(np.array([False, True, True]), symbol.column)
    assert batch.refused["why"].tolist() == [False, True, False]
    batch.within(np.array([False, False, True]), symbol.column)
    assert batch.refused["why"].tolist() == [False, True, False]
    batch.within(None, symbol.column)
    assert batch.refused["why"].tolist() == [True, True, False]


@pytest.mark.parametrize("kernel", ["Linear", "RadialBasis"])
def test_a_support_vector_machine_without_machines_is_refused(kernel: str) -> None:
    machine = (
        f'<SupportVectorMachineModel functionName="classification">{schema()}<{kernel}KernelType/><VectorDictionary>'
        '<VectorFields><FieldRef field="x"/></VectorFields></VectorDictionary></SupportVectorMachineModel>'
    )
    with pytest.raises(UnprovenModelError, match="holds no support vector machine"):
        read(document(machine))


def test_trees_that_name_no_category_are_refused() -> None:
    tree = f'<TreeModel functionName="classification">{schema()}<Node><True/></Node></TreeModel>'
    with pytest.raises(UnprovenModelError, match="name no category"):
        read(document(tree, numeric=True))


@pytest.mark.parametrize(
    ("kind", "margins"),
    [("integer", 'rightMargin="9.3E18"'), ("double", 'leftMargin="-1.7E308" rightMargin="1.7E308"')],
)
def test_rows_are_made_up_within_the_widest_intervals(kind: str, margins: str) -> None:
    field = f'<DataField name="x" optype="continuous" dataType="{kind}"><Interval closure="closedClosed" {margins}/></DataField>'
    text = document(line(0), numeric=True).replace(
        '<DataField name="x" optype="continuous" dataType="double"/>', field
    )
    sample = read(text).sample(8)
    assert sample is not None
    assert len(sample["x"]) == 8 and np.isfinite(sample["x"]).all()


def test_a_parameter_called_as_a_field_says_nothing_of_the_field() -> None:
    function = (
        '<TransformationDictionary><DefineFunction name="f" optype="continuous" dataType="double"><ParameterField name="x"/>'
        '<Apply function="+"><FieldRef field="x"/><Constant dataType="double">1</Constant></Apply></DefineFunction></TransformationDictionary>'
    )
    fields = "".join(
        f'<DerivedField name="{name}" optype="continuous" dataType="double">{expression}</DerivedField>'
        for name, expression in (
            ("d", '<FieldRef field="x" mapMissingTo="5"/>'),
            ("e", '<Apply function="f"><FieldRef field="y"/></Apply>'),
        )
    )
    model = line(0, f"<LocalTransformations>{fields}</LocalTransformations>").replace(
        '<NumericPredictor name="x" coefficient="1"/>',
        '<NumericPredictor name="d" coefficient="1"/><NumericPredictor name="e" coefficient="1"/>',
    )
    text = document(function + model, numeric=True)
    assert {i.name: i.optional for i in read(text).inputs} == {"x": True, "y": False, "k": False}
    assert results(text, [{"x": None, "y": 2.0, "k": "red"}])["predictedValue"] == [8.0]
