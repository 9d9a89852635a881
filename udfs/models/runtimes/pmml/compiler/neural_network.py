"""NeuralNetwork: its inputs, its layers one after the other, and what its outputs mean."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Mask, either, some
from udfs.models.runtimes.pmml.compiler.elements import (
    choice,
    expression_of,
    refuse,
    required,
    text_of,
)
from udfs.models.runtimes.pmml.compiler.expressions import Site, compile_expression, converted
from udfs.models.runtimes.pmml.compiler.gathering import Gather
from udfs.models.runtimes.pmml.compiler.network_layers import Layer, Places, joined, read_layer
from udfs.models.runtimes.pmml.compiler.place import Categories, Place
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, labels_of, most_probable, number_column
from udfs.models.runtimes.pmml.compiler.transformations import interpolate, norm_curve
from udfs.models.runtimes.pmml.compiler.types import Type

Activations = Callable[[Batch], tuple[list[NDArray], Mask | None]]


def compile_neural_network(place: Place) -> Scorer:
    """A NeuralNetwork."""
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
    places = Places()
    places.block(element.findall("NeuralInputs/NeuralInput"))
    layers: list[Layer] = []
    for layer in element.findall("NeuralLayer"):
        layers.append(read_layer(layer, element, places))
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


def _outputs(place: Place, places: Places, activations: Activations) -> Scorer:
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
        return joined(blocks, first), missing

    if place.function == "classification":
        return _classifiers(place, chosen, names, ends)
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


def _classifiers(
    place: Place, chosen: list[tuple[int, ET.Element]], neurons: list[str], ends: Ends
) -> Scorer:  # fmt: skip
    """One for each target, of the outputs that name it."""
    if len(place.targets) <= 1:
        return _classifier(place.categories(), chosen, neurons, ends)
    told = [expression.get("field") for _, expression in chosen]
    if set(told) != {t.name for t in place.targets}:
        refuse("the neural outputs are not for each target and no other field")
    made: dict[str, Scorer] = {}
    for target in place.targets:
        own = [k for k, name in enumerate(told) if name == target.name]
        of_target = [chosen[k] for k in own], [neurons[k] for k in own]
        made[target.name] = _classifier(Categories(target), *of_target, ends)
        made[target.name].target = target.name
    main, *others = place.targets
    made[main.name].by_target = {t.name: made[t.name] for t in others}
    return made[main.name]


def _classifier(
    categories: Categories, chosen: list[tuple[int, ET.Element]], neurons: list[str], ends: Ends
) -> Scorer:  # fmt: skip
    if any(e.tag != "NormDiscrete" for _, e in chosen) or not chosen:
        refuse("a neural output of a classification is no category")
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
