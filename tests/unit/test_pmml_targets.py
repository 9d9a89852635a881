# ruff: noqa: E501 - documents are written in one line
"""Models of several targets, and of one among several."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.errors import UnprovenModelError
from tests.unit.test_pmml_models import read, results

HEAD = "".join(
    f'<DataField name="{name}" optype="continuous" dataType="double"/>' for name in ("x", "y1", "y2")
)
SCHEMA = '<MiningSchema><MiningField name="y1" usageType="target"/><MiningField name="y2" usageType="target"/><MiningField name="x"/></MiningSchema>'
LINE = '<RegressionTable intercept="1"><NumericPredictor name="x" coefficient="1"/></RegressionTable>'


def of_two(model: str) -> str:
    return (
        '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>'
        f"<DataDictionary>{HEAD}</DataDictionary>{model}</PMML>"
    )


def given(model: str, value: float = 1.0) -> dict[str, list[Any]]:
    return results(of_two(model), [{"x": value}])


MODELS = (
    f'<TreeModel functionName="regression">{SCHEMA}<Node score="1"><True/></Node></TreeModel>',
    f'<RegressionModel functionName="regression">{SCHEMA}{LINE}</RegressionModel>',
    f'<Scorecard functionName="regression" useReasonCodes="false">{SCHEMA}<Characteristics><Characteristic name="c"><Attribute partialScore="3"><True/></Attribute></Characteristic></Characteristics></Scorecard>',
    f'<MiningModel functionName="regression">{SCHEMA}<Segmentation multipleModelMethod="selectFirst"><Segment><True/><RegressionModel functionName="regression"><MiningSchema><MiningField name="x"/></MiningSchema>{LINE}</RegressionModel></Segment></Segmentation></MiningModel>',
)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_that_knows_one_target_is_refused_with_several(model: str) -> None:
    with pytest.raises(UnprovenModelError, match="has several targets: y1, y2"):
        read(of_two(model))


def test_a_model_that_names_its_target_answers_for_that() -> None:
    named = '<RegressionModel functionName="regression" targetFieldName='
    assert given(f'{named}"y2">{SCHEMA}{LINE}</RegressionModel>') == {"predicted_y2": [2.0]}
    with pytest.raises(UnprovenModelError, match="'x', which is none"):
        given(f'{named}"x">{SCHEMA}{LINE}</RegressionModel>')


def network(targets: str) -> str:
    ends = "".join(
        f'<NeuralOutput outputNeuron="{k}"><DerivedField optype="continuous" dataType="double"><FieldRef field="y{k}"/></DerivedField></NeuralOutput>'
        for k in (1, 2)
    )
    return (
        f'<NeuralNetwork functionName="regression" activationFunction="identity">{SCHEMA}<Targets>{targets}</Targets><NeuralInputs>'
        '<NeuralInput id="0"><DerivedField optype="continuous" dataType="double"><FieldRef field="x"/></DerivedField></NeuralInput></NeuralInputs>'
        '<NeuralLayer><Neuron id="1"><Con from="0" weight="2"/></Neuron><Neuron id="2"><Con from="0" weight="3"/></Neuron></NeuralLayer>'
        f"<NeuralOutputs>{ends}</NeuralOutputs></NeuralNetwork>"
    )


def test_each_target_is_treated_as_it_says() -> None:
    first, second = '<Target field="y1" rescaleFactor="10"/>', '<Target field="y2" rescaleFactor="100"/>'
    for treated, y1, y2 in ((first, 20, 3), (second, 2, 300), (second + first, 20, 300)):
        assert given(network(treated)) == {"predicted_y1": [y1], "predicted_y2": [y2]}
    for odd, said in ((first * 2, "twice"), (first.replace("y1", "x"), "is not its target")):
        with pytest.raises(UnprovenModelError, match=said):
            given(network(odd))


def test_each_target_s_categories_are_called_as_it_says() -> None:
    def shown(name: str) -> str:
        return f'<Target field="{name}"><TargetValue value="a" displayValue="{name} A"/></Target>'

    fields = "".join(
        f'<OutputField name="d{k}" feature="predictedDisplayValue" targetField="y{k}" optype="categorical" dataType="string"/>'
        for k in (1, 2)
    )
    row = "<row><x>1</x><y1>a</y1><y2>a</y2></row>"
    columns = "".join(f'<InstanceField field="{f}" column="{f}"/>' for f in ("x", "y1", "y2"))
    model = (
        f'<NearestNeighborModel functionName="classification" numberOfNeighbors="1">{SCHEMA}<Output>{fields}</Output><Targets>{shown("y1")}{shown("y2")}</Targets>'
        f'<TrainingInstances><InstanceFields>{columns}</InstanceFields><InlineTable>{row}</InlineTable></TrainingInstances><ComparisonMeasure kind="distance"><euclidean/></ComparisonMeasure>'
        '<KNNInputs><KNNInput field="x"/></KNNInputs></NearestNeighborModel>'
    )
    text = of_two(model)
    for k in (1, 2):
        text = text.replace(
            f'"y{k}" optype="continuous" dataType="double"', f'"y{k}" optype="categorical" dataType="string"'
        )
    found = results(text, [{"x": 1.0}])
    assert (found["d1"], found["d2"]) == (["y1 A"], ["y2 A"])


ONE = '<MiningSchema><MiningField name="y1" usageType="target"/><MiningField name="x"/></MiningSchema>'


def test_a_record_that_lacks_a_value_has_the_default_of_its_target() -> None:
    """Its input was required, so that only a value that no function gives came to the default."""
    targets = '<Targets><Target field="y1" rescaleFactor="2"><TargetValue defaultValue="432.25"/></Target></Targets>'
    model = f'<RegressionModel functionName="regression">{ONE}{targets}{LINE}</RegressionModel>'
    assert read(of_two(model)).inputs[0].optional
    assert results(of_two(model), [{"x": None}, {"x": 1.0}])["predicted_y1"] == [864.5, 4.0]
    assert not read(of_two(model.replace(targets, ""))).inputs[0].optional


def test_a_record_that_lacks_a_value_has_the_priors_of_its_target() -> None:
    tables = "".join(
        f'<RegressionTable targetCategory="{c}" intercept="0">{term}</RegressionTable>'
        for c, term in (("yes", '<NumericPredictor name="x" coefficient="1"/>'), ("no", ""))
    )
    priors = "".join(
        f'<TargetValue value="{c}" priorProbability="{p}"/>' for c, p in (("yes", 0.02), ("no", 0.98))
    )
    output = '<Output><OutputField name="p" feature="probability" value="yes" optype="continuous" dataType="double"/></Output>'
    model = (
        f'<RegressionModel functionName="classification" normalizationMethod="softmax">{ONE}{output}'
        f'<Targets><Target field="y1">{priors}</Target></Targets>{tables}</RegressionModel>'
    )
    text = of_two(model).replace(
        '"y1" optype="continuous" dataType="double"', '"y1" optype="categorical" dataType="string"'
    )
    found = results(text, [{"x": None}, {"x": 0.0}])
    assert found["predicted_y1"] == ["no", "yes"]
    assert found["p"] == [0.02, 0.5]
