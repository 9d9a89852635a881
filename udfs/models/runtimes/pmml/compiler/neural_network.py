"""NeuralNetwork: layers of neurons, each layer one matrix."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute
from udfs.models.runtimes.pmml.compiler.columns import Mask, either
from udfs.models.runtimes.pmml.compiler.elements import (
    choice,
    describe,
    expression_of,
    number,
    refuse,
    required,
    text_of,
)
from udfs.models.runtimes.pmml.compiler.expressions import Site, compile_expression, converted
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.regression import softmax
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, most_probable, number_column
from udfs.models.runtimes.pmml.compiler.transformations import interpolate, norm_curve
from udfs.models.runtimes.pmml.compiler.types import Type

_ACTIVATIONS: dict[str, Callable[[NDArray], NDArray]] = {
    "logistic": lambda z: 1.0 / (1.0 + np.exp(-z)), "tanh": np.tanh, "identity": lambda z: z,
    "rectifier": lambda z: np.maximum(z, 0.0), "exponential": np.exp, "sine": np.sin, "cosine": np.cos,
    "square": lambda z: z * z, "arctan": lambda z: 2.0 * np.arctan(z) / math.pi,
    "Gauss": lambda z: np.exp(-(z * z)), "Elliott": lambda z: z / (1.0 + np.abs(z)),
    "reciprocal": lambda z: 1.0 / z,
}  # fmt: skip
_NORMALIZATIONS = ("none", "simplemax", "softmax")


@dataclass(frozen=True, slots=True)
class _Layer:
    """`weights` over all values before it, `(before, neurons)`."""

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    activate: Callable[[NDArray], NDArray]
    normalization: str

    def compute(self, before: NDArray) -> NDArray:
        with np.errstate(over="ignore", divide="ignore"):
            made = self.activate(before @ self.weights + self.bias)
        if self.normalization == "softmax":
            return softmax(made)
        return made / made.sum(axis=1, keepdims=True) if self.normalization == "simplemax" else made


def compile_neural_network(place: Place) -> Scorer:
    """A NeuralNetwork; radial basis layers are refused."""
    place.expect("classification", "regression")
    element = place.element
    inputs: list[Compute] = []
    places: dict[str, int] = {}
    for given in element.findall("NeuralInputs/NeuralInput"):
        derived = required(given, "DerivedField")
        made = compile_expression(expression_of(derived), Site(place.scope, wanted=Type.DOUBLE))
        inputs.append(converted(made, Type.DOUBLE, "a neural input").compute)
        _number(places, given)
    layers: list[_Layer] = []
    for layer in element.findall("NeuralLayer"):
        layers.append(_layer(layer, element, places))
        for neuron in layer.findall("Neuron"):
            _number(places, neuron)

    def activations(batch: Batch) -> tuple[NDArray, Mask | None]:
        """All values `(n, inputs and neurons)`."""
        columns = [one(batch) for one in inputs]
        values = np.empty((batch.count, len(columns)))
        for k, column in enumerate(columns):
            values[:, k] = column.values
        for layer in layers:
            values = np.concatenate([values, layer.compute(values)], axis=1)
        return values, either(*(c.missing for c in columns))

    return _outputs(place, places, activations)


def _number(places: dict[str, int], element: ET.Element) -> None:
    name = text_of(element, "id")
    if name in places:
        refuse(f"two neurons are called {name!r}")
    places[name] = len(places)


def _layer(layer: ET.Element, model: ET.Element, places: dict[str, int]) -> _Layer:
    def setting(name: str, default: str | None = None) -> str | None:
        return layer.get(name, model.get(name, default))

    name = setting("activationFunction") or ""
    if name == "threshold":
        bound = number(layer, "threshold", number(model, "threshold", 0.0))

        def above(z: NDArray) -> NDArray:
            return (z > bound).astype(np.float64)

        activate: Callable[[NDArray], NDArray] = above
    elif name in _ACTIVATIONS:
        activate = _ACTIVATIONS[name]
    else:
        refuse(f"the activation function {name!r} is not known")
    if "leakage" in layer.attrib or "leakage" in model.attrib:
        refuse("the attribute 'leakage' of a NeuralNetwork is not known")
    normalization = setting("normalizationMethod", "none") or "none"
    if normalization not in _NORMALIZATIONS:
        refuse(f"the normalization {normalization!r} of a layer is not known")
    neurons = layer.findall("Neuron")
    if not neurons:
        refuse("a layer has no neurons")
    weights = np.zeros((len(places), len(neurons)))
    for k, neuron in enumerate(neurons):
        for link in neuron.findall("Con"):
            source = text_of(link, "from")
            if source not in places:
                refuse(f"{describe(neuron)} reads {source!r}, which is not before it")
            weights[places[source], k] += number(link, "weight")
    return _Layer(weights, np.array([number(n, "bias", 0.0) for n in neurons]), activate, normalization)


def _outputs(place: Place, places: dict[str, int], activations) -> Scorer:
    outputs = place.element.findall("NeuralOutputs/NeuralOutput")
    chosen: list[tuple[int, ET.Element]] = []
    for output in outputs:
        neuron = text_of(output, "outputNeuron")
        if neuron not in places:
            refuse(f"the neural output {neuron!r} is no neuron")
        chosen.append((places[neuron], _meaning(required(output, "DerivedField"), place)))
    if place.function == "classification":
        return _classifier(place, chosen, activations)
    by_field: dict[str, Scorer] = {}
    for at, expression in chosen:
        by_field[text_of(expression, "field")] = _regressor(expression, at, activations)
    wanted = [t.name for t in place.targets]
    if len(chosen) == 1 and len(wanted) <= 1:
        return next(iter(by_field.values()))
    if not wanted or sorted(by_field) != sorted(wanted):
        refuse("the neural outputs are not one for each target")
    main, *others = wanted
    scorer = by_field[main]
    for name in wanted:
        by_field[name].target = name
    scorer.by_target = {name: by_field[name] for name in others}
    return scorer


def _meaning(derived: ET.Element, place: Place) -> ET.Element:
    """The expression by which the target is read from the output, also where it stands in a derived field."""
    expression = expression_of(derived)
    if expression.tag == "FieldRef":
        behind = place.scope.definition(expression.get("field") or "")
        if behind is not None and expression_of(behind).tag in ("NormDiscrete", "NormContinuous"):
            return expression_of(behind)
        if behind is not None:
            refuse("a neural output reads a derived field")
    if expression.tag not in ("FieldRef", "NormDiscrete", "NormContinuous"):
        refuse(f"a neural output is a {expression.tag}")
    return expression


def _regressor(expression: ET.Element, at: int, activations) -> Scorer:
    curve = None
    if expression.tag == "NormDiscrete":
        refuse("a neural output of a regression is a category")
    if expression.tag == "NormContinuous":
        choice(expression, "outliers", ("asIs",), "asIs")
        before, after = norm_curve(expression)
        order = np.argsort(after)
        curve = after[order], before[order]
        if (np.diff(curve[0]) <= 0).any():
            refuse("a neural output is normalised by a curve that cannot be turned round")

    def score(batch: Batch) -> Result:
        values, missing = activations(batch)
        found = values[:, at] if curve is None else interpolate(values[:, at], *curve, False)[0]
        if missing is not None:
            found = np.where(missing, np.nan, found)
        return Result(value=number_column(np.array(found)))

    return Scorer("regression", score)


def _classifier(place: Place, chosen: list[tuple[int, ET.Element]], activations) -> Scorer:
    if any(e.tag != "NormDiscrete" for _, e in chosen) or not chosen:
        refuse("a neural output of a classification is no category")
    categories = place.categories()
    said = categories.places(text_of(e, "value") for _, e in chosen)
    if len(set(said)) < len(said):
        refuse("two neural outputs are for one category")
    order, width = np.array(sorted(said)), len(categories.names)
    columns = np.array([chosen[said.index(place)][0] for place in order.tolist()])

    def classify(batch: Batch) -> Result:
        """A category without an output is never the result: RapidMiner's targets may be `MISSING_VALUE`."""
        values, missing = activations(batch)
        found = values[:, columns]
        if missing is not None:
            found[missing] = np.nan
        shares = np.zeros((batch.count, width))
        shares[:, order] = found
        shares[np.isnan(found).any(axis=1)] = np.nan
        best = most_probable(found)
        return Result(label=np.where(best < 0, -1, order[best]), probabilities=shares)

    return Scorer("classification", classify, categories=tuple(categories.names), probable=True)
