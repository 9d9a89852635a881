"""NeuralNetwork: layers of neurons, each layer one matrix over the layers that it reads."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Mask, either, some
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
from udfs.models.runtimes.pmml.compiler.gathering import Gather
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.regression import softmax
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, labels_of, most_probable, number_column
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
    """`weights` over the blocks from `first` up to it, `(values, neurons)`."""

    first: int
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    activate: Callable[[NDArray], NDArray]
    normalization: str

    def compute(self, blocks: Sequence[NDArray]) -> NDArray:
        made = self.activate(_joined(blocks, self.first) @ self.weights + self.bias)
        if self.normalization == "softmax":
            return softmax(made)
        return made / made.sum(axis=1, keepdims=True) if self.normalization == "simplemax" else made


def _joined(blocks: Sequence[NDArray], first: int) -> NDArray:
    """The blocks from `first` on side by side; mostly it is the last alone."""
    return blocks[-1] if first == len(blocks) - 1 else np.concatenate(blocks[first:], axis=1)


class _Places:
    """Where the value of each input and neuron stands: the inputs are a block, and each layer is one."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int]] = {}
        self._sizes: list[int] = []

    def block(self, elements: Iterable[ET.Element]) -> None:
        """A block more."""
        names = [text_of(element, "id") for element in elements]
        for at, name in enumerate(names):
            if name in self._found:
                refuse(f"two neurons are called {name!r}")
            self._found[name] = len(self._sizes), at
        self._sizes.append(len(names))

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def first(self, names: Iterable[str]) -> int:
        """The first block that one of the names is in; the last one where there are no names."""
        return min((self._found[name][0] for name in names), default=len(self._sizes) - 1)

    def width(self, first: int) -> int:
        """How many values the blocks from `first` on hold."""
        return sum(self._sizes[first:])

    def column(self, name: str, first: int) -> int:
        """Which of these values the name is."""
        block, at = self._found[name]
        return sum(self._sizes[first:block]) + at


Activations = Callable[[Batch], tuple[list[NDArray], Mask | None]]


def compile_neural_network(place: Place) -> Scorer:
    """A NeuralNetwork; radial basis layers are refused."""
    place.expect("classification", "regression")
    element = place.element
    inputs: list[Compute] = []
    plain: list[Symbol | None] = []
    for given in element.findall("NeuralInputs/NeuralInput"):
        expression = expression_of(required(given, "DerivedField"))
        made = compile_expression(expression, Site(place.scope, wanted=Type.DOUBLE))
        inputs.append(converted(made, Type.DOUBLE, "a neural input").compute)
        is_field = expression.tag == "FieldRef" and expression.get("mapMissingTo") is None
        plain.append(place.scope.find(expression.get("field")) if is_field else None)
    gather = Gather(plain)
    places = _Places()
    places.block(element.findall("NeuralInputs/NeuralInput"))
    layers: list[_Layer] = []
    for layer in element.findall("NeuralLayer"):
        layers.append(_layer(layer, element, places))
        places.block(layer.findall("Neuron"))

    def activations(batch: Batch) -> tuple[list[NDArray], Mask | None]:
        """The blocks, each `(n, values)` and of this call alone, and the rows that lack an input."""
        values = np.empty((batch.count, len(inputs)))
        missing: Mask | None = None
        for k in gather.fill(batch, values):
            column = inputs[k](batch)
            values[:, k] = column.values
            missing = either(missing, column.missing)
        blocks = [values]
        for layer in layers:
            blocks.append(layer.compute(blocks))
        return blocks, missing

    return _outputs(place, places, activations)


def _layer(layer: ET.Element, model: ET.Element, places: _Places) -> _Layer:
    def setting(name: str, default: str | None = None) -> str | None:
        return layer.get(name, model.get(name, default))

    name = setting("activationFunction") or ""
    if name == "threshold":
        bound = number(layer, "threshold", number(model, "threshold", 0.0))

        def above(z: NDArray) -> NDArray:
            return np.where(np.isnan(z), z, z > bound)

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
    links: list[tuple[str, int, float]] = []
    for k, neuron in enumerate(neurons):
        for link in neuron.findall("Con"):
            source = text_of(link, "from")
            if source not in places:
                refuse(f"{describe(neuron)} reads {source!r}, which is not before it")
            links.append((source, k, number(link, "weight")))
    first = places.first(source for source, _, _ in links)
    weights = np.zeros((places.width(first), len(neurons)))
    for source, k, weight in links:
        weights[places.column(source, first), k] += weight
    bias = np.array([number(n, "bias", 0.0) for n in neurons])
    return _Layer(first, weights, bias, activate, normalization)


def _outputs(place: Place, places: _Places, activations: Activations) -> Scorer:
    outputs = place.element.findall("NeuralOutputs/NeuralOutput")
    names = [text_of(output, "outputNeuron") for output in outputs]
    for neuron in names:
        if neuron not in places:
            refuse(f"the neural output {neuron!r} is no neuron")
    first = places.first(names)
    chosen = [
        (places.column(neuron, first), _meaning(required(output, "DerivedField"), place))
        for neuron, output in zip(names, outputs, strict=True)
    ]

    def ends(batch: Batch) -> tuple[NDArray, Mask | None]:
        """The values that outputs read, among others."""
        blocks, missing = activations(batch)
        return _joined(blocks, first), missing

    if place.function == "classification":
        return _classifier(place, chosen, names, ends)
    by_field: dict[str, Scorer] = {}
    for at, expression in chosen:
        by_field[text_of(expression, "field")] = _regressor(expression, at, ends)
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


Ends = Callable[[Batch], tuple[NDArray, Mask | None]]


def _regressor(expression: ET.Element, at: int, ends: Ends) -> Scorer:
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
        values, missing = ends(batch)
        found = values[:, at] if curve is None else interpolate(values[:, at], *curve, False)[0]
        if missing is not None:
            found = np.where(missing, np.nan, found)
        return Result(value=number_column(np.array(found)))

    return Scorer("regression", score)


def _classifier(place: Place, chosen: list[tuple[int, ET.Element]], neurons: list[str], ends: Ends) -> Scorer:
    if any(e.tag != "NormDiscrete" for _, e in chosen) or not chosen:
        refuse("a neural output of a classification is no category")
    categories = place.categories()
    said = categories.places(text_of(e, "value") for _, e in chosen)
    if len(set(said)) < len(said):
        refuse("two neural outputs are for one category")
    order, width = np.array(sorted(said)), len(categories.names)
    columns = np.array([chosen[said.index(place)][0] for place in order.tolist()])
    winners = tuple(neurons[said.index(place)] for place in order.tolist())

    def classify(batch: Batch) -> Result:
        """A category without an output is never the result: RapidMiner's targets may be `MISSING_VALUE`."""
        values, missing = ends(batch)
        found = values[:, columns]
        if missing is not None:
            found[missing] = np.nan
        best = label = most_probable(found)
        shares = found
        if len(order) < width:
            label = np.where(best < 0, -1, order[best])
            shares = np.zeros((batch.count, width))
            shares[:, order] = found
        lacking = best < 0
        if some(lacking):
            shares[lacking] = np.nan
        return Result(label=label, probabilities=shares, entity=lambda rank: labels_of(best, winners))

    return Scorer("classification", classify, categories=tuple(categories.names), probable=True, entities=1)
