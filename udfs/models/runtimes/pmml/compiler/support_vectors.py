"""SupportVectorMachineModel: kernels over support vectors, and what their machines decide."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Mask, either, half_up, some
from udfs.models.runtimes.pmml.compiler.elements import (
    array_numbers,
    choice,
    describe,
    flag,
    number,
    refusal,
    refuse,
    required,
    sparse_numbers,
    text_of,
)
from udfs.models.runtimes.pmml.compiler.gathering import Gather
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.regression import numeric
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, number_column
from udfs.models.runtimes.pmml.compiler.types import constant

Kernel = Callable[[NDArray, NDArray], NDArray]


def _kernel(element: ET.Element) -> Kernel:
    found = [e for e in element if e.tag.endswith("KernelType")]
    if len(found) != 1:
        refuse("a SupportVectorMachineModel has not one kernel")
    (kernel,) = found
    gamma, shift, degree = (number(kernel, n, 1.0) for n in ("gamma", "coef0", "degree"))
    if kernel.tag == "LinearKernelType":
        return lambda x, v: x @ v.T
    if kernel.tag == "PolynomialKernelType":
        return lambda x, v: (gamma * (x @ v.T) + shift) ** degree
    if kernel.tag == "SigmoidKernelType":
        return lambda x, v: np.tanh(gamma * (x @ v.T) + shift)
    if kernel.tag == "RadialBasisKernelType":
        return lambda x, v: np.exp(-gamma * _squared_distances(x, v))
    raise refusal(f"the kernel {kernel.tag!r} is not known")


def _squared_distances(x: NDArray, vectors: NDArray) -> NDArray:
    """`(n, vectors)`, by differences: the square of a sum loses what far points have in common."""
    out = np.zeros((len(x), len(vectors)))
    for k in range(x.shape[1]):
        gap = x[:, k, None] - vectors[None, :, k]
        out += gap * gap
    return out


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields that make up a vector; of a categorical one `value`, times `weight`, where it is that."""

    parts: tuple[tuple[Symbol, object, float], ...]
    gather: Gather

    def matrix(self, batch: Batch) -> tuple[NDArray[np.float64], Mask | None]:
        x = np.empty((batch.count, len(self.parts)))
        missing: Mask | None = None
        for k in self.gather.fill(batch, x):
            symbol, value, weight = self.parts[k]
            column = symbol.column(batch) if value is None else symbol.known(batch)
            x[:, k] = column.values if value is None else weight * (column.values == value)
            missing = either(missing, column.missing)
        return x, missing


def _fields(element: ET.Element, place: Place) -> _Fields:
    parts: list[tuple[Symbol, object, float]] = []
    for field in required(element, "VectorDictionary/VectorFields"):
        if field.tag == "FieldRef":
            parts.append((numeric(place.scope.find(field.get("field")), element), None, 1.0))
        elif field.tag == "CategoricalPredictor":
            symbol = place.scope.find(field.get("name", field.get("field")))
            value = constant(text_of(field, "value"), symbol.kind, describe(field))
            parts.append((symbol, value, number(field, "coefficient", 1.0)))
        else:
            refuse(f"a vector holds a {field.tag}")
    gather = Gather([symbol if value is None else None for symbol, value, _ in parts])
    return _Fields(tuple(parts), gather)


def _vectors(element: ET.Element, size: int) -> dict[str, NDArray[np.float64]]:
    found: dict[str, NDArray[np.float64]] = {}
    for instance in element.findall("VectorDictionary/VectorInstance"):
        sparse = instance.find("REAL-SparseArray")
        values = (
            sparse_numbers(sparse, size) if sparse is not None else array_numbers(required(instance, "Array"))
        )
        if len(values) != size:
            refuse(f"{describe(instance)} has {len(values)} numbers for {size} fields")
        found[text_of(instance, "id")] = values
    return found


@dataclass(frozen=True, slots=True)
class _Machine:
    places: NDArray[np.int64]
    weights: NDArray[np.float64]
    shift: float
    target: str | None
    alternate: str | None
    threshold: float | None


def compile_support_vectors(place: Place) -> Scorer:
    """A SupportVectorMachineModel, given by its support vectors or (linear) by its coefficients."""
    place.expect("classification", "regression")
    element = place.element
    by_coefficients = (
        choice(element, "svmRepresentation", ("SupportVectors", "Coefficients"), "SupportVectors")
        != "SupportVectors"
    )
    fields = _fields(element, place)
    vectors = {} if by_coefficients else _vectors(element, len(fields.parts))
    names = {name: k for k, name in enumerate(vectors)}
    table = np.array(list(vectors.values())).reshape(len(vectors), len(fields.parts))
    kernel = _kernel(element)
    machines = [
        _machine(m, names, by_coefficients, len(fields.parts))
        for m in element.findall("SupportVectorMachine")
    ]
    if not machines:
        refuse("a SupportVectorMachineModel holds no support vector machine")
    if by_coefficients and element.find("LinearKernelType") is None:
        refuse("a support vector machine of coefficients is not linear")

    linear = element.find("LinearKernelType") is not None and not by_coefficients
    plane = np.zeros((len(fields.parts), len(machines)))
    if linear:
        plane = np.column_stack([table[m.places].T @ m.weights for m in machines])
    shifts = np.array([m.shift for m in machines])

    def decide(batch: Batch) -> tuple[NDArray, Mask | None]:
        """The values of the machines, `(n, machines)`."""
        x, missing = fields.matrix(batch)
        if linear:  # the sum over the vectors is one product, made beforehand
            return x @ plane + shifts, missing
        similar = x if by_coefficients else kernel(x, table)
        return np.column_stack([similar[:, m.places] @ m.weights + m.shift for m in machines]), missing

    if place.function == "regression":
        if len(machines) != 1:
            refuse(f"a regression has {len(machines)} support vector machines")

        def score(batch: Batch) -> Result:
            values, missing = decide(batch)
            if missing is not None:
                values[missing] = math.nan
            return Result(value=number_column(values[:, 0]))

        return Scorer("regression", score)
    return _classifier(place, machines, decide)


def _machine(element: ET.Element, names: dict[str, int], by_coefficients: bool, size: int) -> _Machine:
    coefficients = required(element, "Coefficients")
    weights = np.array([number(c, "value", 0.0) for c in coefficients.findall("Coefficient")])
    if by_coefficients:
        places = list(range(size))
    else:
        ids = [text_of(v, "vectorId") for v in element.findall("SupportVectors/SupportVector")]
        if any(i not in names for i in ids):
            refuse("a support vector is not in the vector dictionary")
        places = [names[i] for i in ids]
    if len(places) != len(weights):
        refuse(f"a support vector machine has {len(weights)} coefficients for {len(places)} vectors")
    threshold = None if element.get("threshold") is None else number(element, "threshold")
    return _Machine(
        np.array(places, np.int64),
        weights,
        number(coefficients, "absoluteValue", 0.0),
        element.get("targetCategory"),
        element.get("alternateTargetCategory"),
        threshold,
    )


def _rounded(one: NDArray[np.int64], other: int, width: int) -> Callable[[NDArray], NDArray[np.int64]]:
    """Each machine votes for its category where its value rounds to 1, for the alternate one where it rounds
    to 0 (PMML 4.4, Vector Machine: alternateBinaryTargetCategory); any other value has no result."""

    def best(values: NDArray) -> NDArray[np.int64]:
        rounded = half_up(values)
        valid = ((rounded == 0) | (rounded == 1)).all(axis=1)
        return np.where(valid, _most_votes(np.where(rounded == 1, one, other), width), -1)

    return best


def _most_votes(winners: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """The category `(n,)` that most machines of a row are for `(n, machines)`, the first of equal ones."""
    count = len(winners)
    votes = np.bincount((winners + width * np.arange(count)[:, None]).ravel(), minlength=count * width)
    return votes.reshape(count, width).argmax(axis=1)


def _classifier(
    place: Place, machines: list[_Machine], decide: Callable[[Batch], tuple[NDArray, Mask | None]]
) -> Scorer:
    element = place.element
    highest = flag(element, "maxWins", False)
    method = choice(element, "classificationMethod", ("OneAgainstAll", "OneAgainstOne"), "OneAgainstAll")
    threshold = number(element, "threshold", 0.0)
    categories = place.categories()
    if any(m.target is None for m in machines):
        refuse("a support vector machine has no target category")
    one = np.array(categories.places(m.target or "" for m in machines))
    alternate = element.get("alternateBinaryTargetCategory")
    pairs = method == "OneAgainstOne" or all(m.alternate is not None for m in machines)
    if alternate is not None:
        if len(machines) > 1 and method != "OneAgainstOne":
            refuse("one category is said to be the alternate of several machines, each of one against all")
        if highest or "threshold" in element.attrib or any(m.threshold is not None for m in machines):
            refuse(
                "a model has an alternateBinaryTargetCategory, which is for rounded values, and a threshold"
            )
        if any(m.alternate not in (None, alternate) for m in machines):
            refuse("a support vector machine has another alternate category than its model")
        best = _rounded(one, categories.place(alternate), len(categories.names))
    elif not pairs:
        if len(set(one.tolist())) < len(one) or len(one) != len(categories.names) or len(one) < 2:
            refuse("the support vector machines are not one for each category")

        def best(values: NDArray) -> NDArray[np.int64]:
            return one[np.argmax(values, axis=1) if highest else np.argmin(values, axis=1)]

    else:
        if any(m.alternate is None for m in machines) and len(categories.names) != 2:
            refuse("a support vector machine has no alternate category")
        other = np.array([
            categories.place(m.alternate) if m.alternate is not None else 1 - int(k)
            for m, k in zip(machines, one, strict=True)
        ])  # fmt: skip
        bounds = np.array([threshold if m.threshold is None else m.threshold for m in machines])

        def best(values: NDArray) -> NDArray[np.int64]:
            first = values >= bounds if highest else values < bounds
            return _most_votes(np.where(first, one, other), len(categories.names))

    def classify(batch: Batch) -> Result:
        values, missing = decide(batch)
        label = best(values)
        undefined = np.isnan(values)
        lacking = either(missing, undefined.any(axis=1) if some(undefined) else None)
        return Result(label=label if lacking is None else np.where(lacking, -1, label))

    return Scorer("classification", classify, categories=tuple(categories.names))
