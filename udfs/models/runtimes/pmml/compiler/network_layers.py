"""The layers of a NeuralNetwork: each computes its neurons of the values before it."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.elements import describe, number, refuse, text_of
from udfs.models.runtimes.pmml.compiler.regression import softmax

_ACTIVATIONS: dict[str, Callable[[NDArray], NDArray]] = {
    "logistic": lambda z: 1.0 / (1.0 + np.exp(-z)), "tanh": np.tanh, "identity": lambda z: z,
    "rectifier": lambda z: np.maximum(z, 0.0), "exponential": np.exp, "sine": np.sin, "cosine": np.cos,
    "square": lambda z: z * z, "arctan": lambda z: 2.0 * np.arctan(z) / math.pi,
    "Gauss": lambda z: np.exp(-(z * z)), "Elliott": lambda z: z / (1.0 + np.abs(z)),
    "reciprocal": lambda z: 1.0 / z,
}  # fmt: skip
_NORMALIZATIONS = ("none", "simplemax", "softmax")
_RADIAL = "radialBasis"


@dataclass(frozen=True, slots=True)
class Layer:
    """`weights` over the blocks from `first` up to it, `(values, neurons)`. `activate`: of these values and
    the weights."""

    first: int
    weights: NDArray[np.float64]
    activate: Callable[[NDArray, NDArray], NDArray]
    normalization: str

    def compute(self, blocks: Sequence[NDArray]) -> NDArray:
        made = self.activate(joined(blocks, self.first), self.weights)
        if self.normalization == "softmax":
            return softmax(made)
        return made / made.sum(axis=1, keepdims=True) if self.normalization == "simplemax" else made


def joined(blocks: Sequence[NDArray], first: int) -> NDArray:
    """The blocks from `first` on side by side; mostly it is the last alone."""
    return blocks[-1] if first == len(blocks) - 1 else np.concatenate(blocks[first:], axis=1)


class Places:
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


def read_layer(layer: ET.Element, model: ET.Element, places: Places) -> Layer:
    """A NeuralLayer behind those whose neurons `places` knows."""

    def setting(name: str, default: str | None = None) -> str | None:
        return layer.get(name, model.get(name, default))

    name = setting("activationFunction") or ""
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
    linked = np.zeros(weights.shape, np.int64)
    for source, k, weight in links:
        weights[places.column(source, first), k] += weight
        linked[places.column(source, first), k] += 1
    if name == _RADIAL:
        return Layer(first, weights, _radial(layer, model, neurons, linked), normalization)
    bias = np.array([number(n, "bias", 0.0) for n in neurons])
    function = _activation(name, layer, model)
    return Layer(first, weights, lambda values, by: function(values @ by + bias), normalization)


def _activation(name: str, layer: ET.Element, model: ET.Element) -> Callable[[NDArray], NDArray]:
    if name == "threshold":
        bound = number(layer, "threshold", number(model, "threshold", 0.0))
        return lambda z: np.where(np.isnan(z), z, z > bound)
    leakage = number(layer, "x-leakage", number(model, "x-leakage", 0.0))
    if leakage and name == "rectifier":  # an extension of JPMML
        return lambda z: np.where(z > 0, z, z * leakage)
    if name not in _ACTIVATIONS:
        refuse(f"the activation function {name!r} is not known")
    return _ACTIVATIONS[name]


def _radial(
    layer: ET.Element, model: ET.Element, neurons: list[ET.Element], linked: NDArray[np.int64]
) -> Callable[[NDArray, NDArray], NDArray]:
    """`exp(f log(altitude) - d / (2 width^2))`, where d is the squared distance of a neuron's f inputs from
    its weights (PMML 4.4, Neural Network: radialBasis); its bias counts for nothing."""

    def positive(neuron: ET.Element, name: str, default: float | None = None) -> float:
        holder = next((e for e in (neuron, layer) if name in e.attrib), model)
        value = number(holder, name, default)
        if value <= 0:
            refuse(f"{describe(holder)} has {name}={holder.get(name)!r}, which is not above 0")
        return value

    if (linked > 1).any():
        refuse("a neuron of a radial basis layer has two connections from one place")
    used = linked == 1
    widths = np.array([positive(n, "width") for n in neurons])
    heights = np.array([positive(n, "altitude", 1.0) for n in neurons])
    raised, spread = used.sum(axis=0) * np.log(heights), 2.0 * widths * widths

    def activate(values: NDArray, centers: NDArray) -> NDArray:
        far = np.zeros((len(values), centers.shape[1]))
        for k in range(values.shape[1]):  # one input after the other, as the sums are written
            gap = np.where(used[k], values[:, k, None] - centers[k], 0.0)
            far += gap * gap
        return np.exp(raised - far / spread)

    return activate
