"""Distances and similarities between rows and given points, for clusters and neighbours."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.elements import choice, matrix_numbers, number, refuse, required
from udfs.models.runtimes.pmml.compiler.types import Type

_DISTANCES = ("euclidean", "squaredEuclidean", "cityBlock", "chebychev", "minkowski")
_SQUARED = ("euclidean", "squaredEuclidean")
_COMPARE = ("absDiff", "gaussSim", "delta", "equal", "table")
_OF_ANY = ("delta", "equal")  # what compares values that are no numbers
# Of values that are both 1, 1 and 0, 0 and 1, both 0: the numerator and the denominator.
_SIMILARITIES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "simpleMatching": ((1, 0, 0, 1), (1, 1, 1, 1)),
    "jaccard": ((1, 0, 0, 0), (1, 1, 1, 0)),
    "tanimoto": ((1, 0, 0, 1), (1, 2, 2, 1)),
}
_PAIRS = ("11", "10", "01", "00")


@dataclass(frozen=True, slots=True)
class Distance:
    """Distance over fields, the least of which is the nearest. `weights`: of the fields; `scales`: of those
    compared by gaussSim; `tables`: of those compared by a table, the place of each value and the numbers of
    pairs."""

    kind: str
    power: float
    compare: tuple[str, ...]
    weights: NDArray[np.float64]
    scales: NDArray[np.float64]
    tables: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]
    tolerant = True

    def values(
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
            add = np.maximum if self.kind == "chebychev" else np.add
            add(total, gap, out=total)
        if not known.all():
            present = (known * adjust).sum(axis=1)
            with np.errstate(divide="ignore"):
                total *= np.where(present > 0, adjust.sum() / present, np.nan)[:, None]
        if self.kind == "euclidean":
            return np.sqrt(total)
        return total ** (1.0 / self.power) if self.kind == "minkowski" else total

    def farness(self, values: NDArray) -> NDArray:
        """What is least of the nearest."""
        return values

    def _gap(self, values: NDArray, points: NDArray, k: int) -> NDArray:
        """What field k adds to the distance."""
        how = self.compare[k]
        if how == "table":
            listed, numbers = self.tables[k]
            gap = numbers[_places(listed, values), _places(listed, points)]
        elif how in _OF_ANY:
            gap = ((values != points) if how == "delta" else (values == points)).astype(np.float64)
        else:
            gap = values - points
            if how == "gaussSim":
                gap = np.exp(-np.log(2.0) * gap**2 / self.scales[k] ** 2)
            elif self.kind not in _SQUARED:
                gap = np.abs(gap)
        if self.kind in _SQUARED:
            gap = gap * gap
        elif self.kind == "minkowski":
            gap = gap**self.power
        weight = self.weights[k]
        return gap if weight == 1.0 else gap * weight


def _places(listed: NDArray, values: NDArray) -> NDArray[np.int64]:
    """Where values are in an ascending list of all that there are; anything for NaN, which is left out."""
    return np.minimum(np.searchsorted(listed, values), len(listed) - 1)


@dataclass(frozen=True, slots=True)
class Similarity:
    """Similarity of rows of 0 and 1, the greatest of which is the nearest: of how many fields are both 1, 1
    and 0, 0 and 1, and both 0, one weighted sum over another."""

    above: tuple[float, ...]
    below: tuple[float, ...]
    tolerant = False

    def values(self, x: NDArray[np.float64], points: NDArray[np.float64], adjust: object = None) -> NDArray:
        """`(n, points)`, NaN where a value of the row is missing, or where nothing is below."""
        both = x @ points.T
        ones, theirs = x.sum(axis=1)[:, None], points.sum(axis=1)[None, :]
        counts = (both, ones - both, theirs - both, x.shape[1] - ones - theirs + both)
        above = sum(w * c for w, c in zip(self.above, counts, strict=True))
        below = sum(w * c for w, c in zip(self.below, counts, strict=True))
        with np.errstate(all="ignore"):
            return np.where(below == 0, np.nan, above / below)

    def farness(self, values: NDArray) -> NDArray:
        """What is least of the nearest."""
        return -values


Measure = Distance | Similarity


def measure(element: ET.Element, fields: list[ET.Element], symbols: Sequence[Symbol]) -> Measure:
    """The ComparisonMeasure of a model over its fields (PMML 4.4, Clustering: Comparison Measures)."""
    found = [e for e in element if e.tag != "Extension"]
    if len(found) != 1:
        refuse(f"a ComparisonMeasure has the measures {', '.join(e.tag for e in found) or 'none'}")
    (how,) = found
    kind = "distance" if how.tag in _DISTANCES else "similarity"
    if how.tag not in _DISTANCES and how.tag != "binarySimilarity" and how.tag not in _SIMILARITIES:
        refuse(f"the measure {how.tag} is not known")
    choice(element, "kind", (kind,))
    weights = np.array([number(f, "fieldWeight", 1.0) for f in fields])
    if (weights < 0).any():
        refuse("a field of a ComparisonMeasure has a weight below 0")
    if kind == "similarity":  # it counts pairs, by which the weights of fields are not used
        if how.tag in _SIMILARITIES:
            return Similarity(*_SIMILARITIES[how.tag])
        return Similarity(*(tuple(number(how, f"{side}{p}-parameter") for p in _PAIRS) for side in "cd"))
    power = number(how, "p-parameter") if how.tag == "minkowski" else 1.0
    if power <= 0:
        refuse("a minkowski measure has a power that is not positive")
    default = choice(element, "compareFunction", _COMPARE, "absDiff")
    compare = tuple(choice(f, "compareFunction", _COMPARE, default) for f in fields)
    scales, tables = np.ones(len(fields)), {}
    for k, (field, symbol, name) in enumerate(zip(fields, symbols, compare, strict=True)):
        if name == "gaussSim":
            scales[k] = number(field, "similarityScale")
            if scales[k] == 0:
                refuse(f"the field {symbol.name!r} has a similarityScale of 0")
        elif name == "table":
            tables[k] = _table(field, symbol)
    return Distance(how.tag, power, compare, weights, scales, tables)


def _table(field: ET.Element, symbol: Symbol) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values of a field, ascending, and the number of each pair of them from its Comparisons."""
    pairs = matrix_numbers(required(field, "Comparisons/Matrix"))
    if not symbol.kind.numeric or pairs.shape != (len(symbol.categories),) * 2:
        refuse(f"the table of {symbol.name!r} has not a row and a column for each value that is declared")
    values = np.array(symbol.categories, np.float64)
    order = np.argsort(values, kind="stable")
    return values[order], pairs[np.ix_(order, order)]


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields side by side as numbers. `codes`: by place, the numbers that stand for values that are none."""

    symbols: tuple[Symbol, ...]
    how: Measure
    codes: dict[int, dict[Any, float]]

    def matrix(self, batch: Batch) -> NDArray[np.float64]:
        """`(n, fields)`, NaN where a value is missing; a value that has no code is equal to none."""
        x = np.empty((batch.count, len(self.symbols)))
        for k, symbol in enumerate(self.symbols):
            column = symbol.known(batch)
            codes = self.codes.get(k)
            if codes is None:
                x[:, k] = column.values
            else:
                values = column.full(batch.count).tolist()
                x[:, k] = np.fromiter((codes.get(v, -1.0) for v in values), np.float64, batch.count)
            if column.missing is not None:
                x[column.mask(batch.count), k] = np.nan
            self._check(batch, x[:, k], k)
        return x

    def _check(self, batch: Batch, values: NDArray[np.float64], k: int) -> None:
        """Refuse the rows whose value the measure does not know."""
        present = ~np.isnan(values)
        if isinstance(self.how, Similarity):
            wrong = present & (values != 0) & (values != 1)
            batch.refuse(
                wrong, f"the field {self.symbols[k].name!r} is neither 0 nor 1, as a similarity needs"
            )
        elif k in self.how.tables:
            wrong = present & ~np.isin(values, self.how.tables[k][0])
            batch.refuse(wrong, f"the field {self.symbols[k].name!r} holds a value that is not in its table")

    def check_points(self, points: NDArray[np.float64]) -> None:
        """Refuse points that the measure does not know."""
        for k in range(len(self.symbols)):
            batch = Batch(len(points), {})
            self._check(batch, points[:, k], k)
            for reason in batch.refused:
                refuse(f"of the model's own rows, {reason}")


def fields_of(symbols: Sequence[Symbol], how: Measure) -> Fields:
    """The fields of a measure; what is no number has a code, where the measure asks only if it is equal."""
    codes: dict[int, dict[Any, float]] = {}
    for k, symbol in enumerate(symbols):
        if symbol.kind.numeric or symbol.kind is Type.BOOLEAN:
            continue
        if isinstance(how, Similarity) or how.compare[k] not in _OF_ANY:
            refuse(
                f"the field {symbol.name!r} is a {symbol.kind.value}, and more is asked than if it is equal"
            )
        codes[k] = {}
    return Fields(tuple(symbols), how, codes)
