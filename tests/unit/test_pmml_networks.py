# ruff: noqa: E501 - documents are written in one line
"""Layers of neural networks that are seldom written, against values worked out by hand (PMML 4.4)."""

from __future__ import annotations

import math

import pytest

from schemas.errors import UnprovenModelError
from tests.pmml_documents import document, schema
from tests.unit.test_pmml_models import expected, network, read, results

CENTERS = {"a": (0.0, 1.0), "b": (2.0, -1.0)}
ROWS = [{"x": 0.5, "y": 0.25, "k": "red"}, {"x": -3.0, "y": 4.0, "k": "red"}]


def radial(model: str = 'width="1.5"', layer: str = "", neuron: str = "", inputs: str = "xy") -> str:
    """A layer of two radial neurons over x and y, and one that adds 3 of the first and 5 of the second."""
    neurons = "".join(
        f'<Neuron id="{name}" {neuron if name == "b" else ""}>'
        + "".join(f'<Con from="{f}" weight="{w}"/>' for f, w in zip("xy", center, strict=True) if f in inputs)
        + "</Neuron>"
        for name, center in CENTERS.items()
    )
    layers = [
        f"<NeuralLayer {layer}>{neurons}</NeuralLayer>",
        '<NeuralLayer activationFunction="identity" normalizationMethod="none"><Neuron id="out" bias="1"><Con from="a" weight="3"/><Con from="b" weight="5"/></Neuron></NeuralLayer>',
    ]
    head = f'<NeuralNetwork functionName="regression" activationFunction="radialBasis" {model}>{schema()}'
    return document(head + network(("x", "y"), layers), numeric=True)


def said(
    row: dict[str, float],
    widths: tuple[float, float],
    heights: tuple[float, float] = (1.0, 1.0),
    shared: bool = False,
) -> float:
    far = [(row["x"] - p) ** 2 + (row["y"] - q) ** 2 for p, q in CENTERS.values()]
    made = [math.exp(2 * math.log(h) - d / (2 * w * w)) for d, w, h in zip(far, widths, heights, strict=True)]
    total = sum(made) if shared else 1.0
    return 1 + 3 * made[0] / total + 5 * made[1] / total


@pytest.mark.parametrize(
    ("parts", "widths", "heights", "shared"),
    [
        ({}, (1.5, 1.5), (1.0, 1.0), False),
        ({"layer": 'width="0.5" altitude="2"'}, (0.5, 0.5), (2.0, 2.0), False),
        ({"neuron": 'width="3" altitude="0.5" bias="7"', "model": 'width="1.5" altitude="4"'}, (1.5, 3.0), (4.0, 0.5), False),
        ({"layer": 'normalizationMethod="simplemax"'}, (1.5, 1.5), (1.0, 1.0), True),
    ],
)  # fmt: skip
def test_radial_neurons_are_by_their_distance_from_their_weights(
    parts: dict[str, str], widths: tuple[float, float], heights: tuple[float, float], shared: bool
) -> None:
    expected(radial(**parts), "predicted_t", [said(row, widths, heights, shared) for row in ROWS], ROWS)  # type: ignore[arg-type]


def test_an_input_that_a_radial_neuron_does_not_read_is_no_part_of_its_distance() -> None:
    far = [(row["x"] - p) ** 2 for row in ROWS for p in (0.0, 2.0)]  # type: ignore[operator]
    a, b, c, d = (math.exp(-one / 4.5) for one in far)
    expected(radial(inputs="x"), "predicted_t", [1 + 3 * a + 5 * b, 1 + 3 * c + 5 * d], ROWS)


def test_a_radial_layer_without_a_width_is_refused() -> None:
    with pytest.raises(UnprovenModelError, match="lacks width"):
        read(radial(model=""))
    with pytest.raises(UnprovenModelError, match="width='0', which is not above 0"):
        read(radial(neuron='width="0"'))
    twice = radial().replace('<Con from="x" weight="0.0"/>', '<Con from="x" weight="0.0"/>' * 2)
    with pytest.raises(UnprovenModelError, match="two connections from one place"):
        read(twice)


@pytest.mark.parametrize(("model", "layer", "leak"), [("0.5", "0.25", 0.25), ("0.5", "", 0.5), ("", "", 0.0)])
def test_a_rectifier_may_leak(model: str, layer: str, leak: float) -> None:
    """JPMML's extension; another activation function passes it over."""
    of_model, of_layer = (f'x-leakage="{said}"' if said else "" for said in (model, layer))
    layers = [
        f'<NeuralLayer {of_layer}><Neuron id="a"><Con from="x" weight="2"/></Neuron></NeuralLayer>',
        f'<NeuralLayer activationFunction="identity" {of_layer}><Neuron id="out" bias="1"><Con from="a" weight="1"/></Neuron></NeuralLayer>',
    ]
    text = document(
        f'<NeuralNetwork functionName="regression" activationFunction="rectifier" {of_model}>{schema()}{network(("x",), layers)}',
        numeric=True,
    )
    expected(text, "predicted_t", [1 + 2 * 0.5, 1 - 6 * leak], ROWS)


SECOND = '<MiningSchema><MiningField name="u" usageType="target"/>'
OF_SECOND = '<DataField name="u" optype="categorical" dataType="string"><Value value="a"/><Value value="q"/></DataField>'


def of_several(model: str) -> str:
    """The document of a model with a second target, which has a category in common with the first."""
    text = document(model.replace("<MiningSchema>", SECOND))
    return text.replace("<DataDictionary>", f"<DataDictionary>{OF_SECOND}")


def categories(*outputs: tuple[str, str]) -> str:
    """A network whose neurons are x, 1 - x, 2x and 3."""
    lines = ((0, 1), (1, -1), (0, 2), (3, 0))
    neurons = "".join(
        f'<Neuron id="n{k}" bias="{b}"><Con from="x" weight="{w}"/></Neuron>'
        for k, (b, w) in enumerate(lines)
    )
    ends = "".join(
        f'<NeuralOutput outputNeuron="n{k}"><DerivedField optype="categorical" dataType="string"><NormDiscrete field="{f}" value="{v}"/></DerivedField></NeuralOutput>'
        for k, (f, v) in enumerate(outputs)
    )
    layers = network(("x",), [f"<NeuralLayer>{neurons}</NeuralLayer>"]).split("<NeuralOutputs>")[0]
    return of_several(
        f'<NeuralNetwork functionName="classification" activationFunction="identity">{schema()}{layers}<NeuralOutputs>{ends}</NeuralOutputs></NeuralNetwork>'
    )


def test_a_network_of_several_targets_predicts_each_by_its_own_outputs() -> None:
    """The outputs of all were categories of the first, and the others had no result."""
    rows = [{"x": x, "y": 0.0, "k": "red"} for x in (-5.0, 2.0)]
    found = results(categories(("t", "a"), ("t", "b"), ("u", "a"), ("u", "q")), rows)
    assert found["predicted_t"] == ["b", "a"]  # -5 and 6, 2 and -1
    assert found["predicted_u"] == ["q", "a"]  # -10 and 3, 4 and 3
    assert found["probability_a"] == [-10.0, 4.0]
    assert found["probability_t_a"] == [-5.0, 2.0]
    with pytest.raises(UnprovenModelError, match="not for each target"):
        read(categories(("t", "a"), ("t", "b")))


def test_neighbours_of_several_targets_have_probabilities_of_each() -> None:
    """Two results had one name, and the one that came first was lost."""
    cells = "".join(
        f"<row><x>{x}</x><t>{t}</t><u>{u}</u></row>"
        for x, t, u in ((0, "a", "a"), (1, "b", "a"), (9, "b", "q"))
    )
    fields = "".join(f'<InstanceField field="{f}" column="{f}"/>' for f in "xtu")
    text = of_several(
        f'<NearestNeighborModel functionName="classification" numberOfNeighbors="2">{schema()}<TrainingInstances><InstanceFields>{fields}</InstanceFields>'
        f'<InlineTable>{cells}</InlineTable></TrainingInstances><ComparisonMeasure kind="distance"><euclidean/></ComparisonMeasure>'
        '<KNNInputs><KNNInput field="x"/></KNNInputs></NearestNeighborModel>'
    )
    found = results(text, [{"x": 0.25, "y": 0.0, "k": "red"}])
    assert (found["probability_a"], found["probability_t_a"]) == ([1.0], [0.5])
