"""Distances and similarities between rows and given points, for clusters and neighbours."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.elements import choice, number, refuse
from udfs.models.runtimes.pmml.compiler.regression import numeric

_MEASURES = ("euclidean", "squaredEuclidean", "cityBlock", "chebychev", "minkowski")
_COMPARE = ("absDiff", "gaussSim", "delta", "equal")


@dataclass(frozen=True, slots=True)
class Measure:
    """Distance over numeric fields. `weights`: of the fields; `scales`: of those compared by gaussSim."""

    kind: str
    power: float
    compare: tuple[str, ...]
    weights: NDArray[np.float64]
    scales: NDArray[np.float64]

    def distances(
        self, x: NDArray[np.float64], points: NDArray[np.float64], adjust: NDArray[np.float64]
    ) -> NDArray:
        """`(n, points)`. NaN in `x` is missing: the field is left out and the sum is scaled up by `adjust`,
        the fields' weights in that."""
        known = ~np.isnan(x)
        total = np.zeros((len(x), len(points)))
        for k in range(x.shape[1]):  # one field after the other, as the sums are written
            gap = self._gap(x[:, k, None], points[None, :, k], k)
            if not known[:, k].all():
                gap = np.where(known[:, k, None], gap, 0.0)
            total = np.maximum(total, gap) if self.kind == "chebychev" else total + gap
        if not known.all():
            present = (known * adjust).sum(axis=1)
            with np.errstate(divide="ignore"):
                total *= np.where(present > 0, adjust.sum() / present, np.nan)[:, None]
        if self.kind == "euclidean":
            return np.sqrt(total)
        return total ** (1.0 / self.power) if self.kind == "minkowski" else total

    def _gap(self, values: NDArray, points: NDArray, k: int) -> NDArray:
        """What field k adds to the distance."""
        gap = np.abs(values - points)
        how = self.compare[k]
        if how == "gaussSim":
            gap = np.exp(-np.log(2.0) * gap**2 / self.scales[k] ** 2)
        elif how != "absDiff":
            gap = ((gap != 0) if how == "delta" else (gap == 0)).astype(np.float64)
        if self.kind in ("euclidean", "squaredEuclidean"):
            gap = gap * gap
        elif self.kind == "minkowski":
            gap = gap**self.power
        return gap * self.weights[k]


def measure(element: ET.Element, fields: list[ET.Element]) -> Measure:
    """The ComparisonMeasure of a model, over its fields. Similarities are refused by name."""
    choice(element, "kind", ("distance",))
    found = [e for e in element if e.tag != "Extension"]
    if len(found) != 1 or found[0].tag not in _MEASURES:
        refuse(f"the measure {', '.join(e.tag for e in found)} is not known")
    power = number(found[0], "p-parameter") if found[0].tag == "minkowski" else 1.0
    if power <= 0:
        refuse("a minkowski measure has a power that is not positive")
    default = choice(element, "compareFunction", _COMPARE, "absDiff")
    compare = tuple(choice(f, "compareFunction", _COMPARE, default) for f in fields)
    scales = [number(f, "similarityScale", 1.0) for f in fields]
    return Measure(found[0].tag, power, compare, np.array([number(f, "fieldWeight", 1.0) for f in fields]),
                   np.array(scales))  # fmt: skip


def matrix(symbols: list[Symbol], element: ET.Element) -> Callable[[Batch], NDArray[np.float64]]:
    """Numeric fields side by side: `(n, fields)`, NaN where a value is missing."""
    for symbol in symbols:
        numeric(symbol, element)

    def compute(batch: Batch) -> NDArray[np.float64]:
        x = np.empty((batch.count, len(symbols)))
        for k, symbol in enumerate(symbols):
            column = symbol.known(batch)
            x[:, k] = column.values
            if symbol.depth and symbol.kind.real and np.isnan(x[:, k]).any():
                batch.refuse(np.isnan(x[:, k]), f"the field {symbol.name!r} has no value")
            if column.missing is not None:
                x[column.mask(batch.count), k] = np.nan
        return x

    return compute
