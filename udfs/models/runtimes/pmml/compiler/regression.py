"""RegressionModel: linear terms, and how sums become predictions."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Mask, either, some
from udfs.models.runtimes.pmml.compiler.elements import choice, describe, number, refusal, refuse, text_of
from udfs.models.runtimes.pmml.compiler.functions_arithmetic import normal_cdf
from udfs.models.runtimes.pmml.compiler.gathering import Gather
from udfs.models.runtimes.pmml.compiler.place import SPARK, Categories, Place
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, most_probable, number_column
from udfs.models.runtimes.pmml.compiler.scope import Scope
from udfs.models.runtimes.pmml.compiler.types import Type, constant, float32

NORMALIZATIONS = (
    "none", "simplemax", "softmax", "logit", "probit", "cloglog", "exp", "loglog", "cauchit",
)  # fmt: skip


def inverse_link(name: str, values: NDArray) -> NDArray:  # noqa: PLR0911 - one for each link
    """The inverse of a link function, in the values' type."""
    one = values.dtype.type(1)
    if name in ("none", "identity"):
        return values
    if name in ("logit", "softmax"):
        return one / (one + np.exp(-values))
    if name in ("exp", "log"):
        return np.exp(values)
    if name == "probit":
        return normal_cdf(values).astype(values.dtype)
    if name == "cloglog":
        return one - np.exp(-np.exp(values))
    if name == "loglog":
        return np.exp(-np.exp(-values))
    if name == "cauchit":
        return values.dtype.type(0.5) + np.arctan(values) / values.dtype.type(math.pi)
    raise refusal(f"the link {name!r} is not known")


def softmax(sums: NDArray) -> NDArray:
    """Along the last axis."""
    raised = np.exp(sums - sums.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


@dataclass(frozen=True, slots=True)
class _Numeric:
    symbol: Symbol
    power: float


def numeric(symbol: Symbol, element: ET.Element) -> Symbol:
    """The symbol, if it can be multiplied."""
    if not symbol.kind.numeric and symbol.kind is not Type.BOOLEAN:
        refuse(f"{describe(element)} multiplies {symbol.name!r}, which is a {symbol.kind.value}")
    return symbol


class Sums:
    """The weighted sums of several tables over shared columns: `(n, tables)`.

    A missing number makes a table's sum missing if it is in the table; a missing category adds nothing.
    """

    def __init__(self, tables: Sequence[ET.Element], scope: Scope, kind: Type) -> None:
        self._kind = kind
        self._columns: dict[tuple[str, float], int] = {}
        self._numbers: list[_Numeric] = []
        self._flags: list[tuple[Symbol, object]] = []
        self._products: list[tuple[tuple[Symbol, ...], int]] = []
        self._weights: list[dict[int, np.floating]] = [{} for _ in tables]
        self._flag_weights: list[tuple[int, np.floating]] = []
        self._product_weights: list[tuple[int, np.floating]] = []
        self._intercepts = np.array([self._number(t, "intercept", "0") for t in tables], kind.numpy)
        for at, table in enumerate(tables):
            for term in table:
                self._term(term, at, scope)
        # Of float32 the intercepts come last.
        self._start = np.zeros_like(self._intercepts) if kind is Type.FLOAT else self._intercepts
        self._matrix = np.zeros((len(self._numbers), len(tables)), kind.numpy)
        for at, weights in enumerate(self._weights):
            for place, weight in weights.items():
                self._matrix[place, at] = weight
        self._used = self._matrix_used()
        self._gather = Gather([n.symbol if n.power == 1.0 else None for n in self._numbers])

    def _matrix_used(self) -> NDArray[np.bool_]:
        used = np.zeros(self._matrix.shape, bool)
        for at, weights in enumerate(self._weights):
            used[list(weights), at] = True
        return used

    def _number(self, element: ET.Element, name: str, default: str | None = None) -> np.floating:
        number(element, name, None if default is None else 0.0)
        said = element.get(name, default or "0")
        return float32(said) if self._kind is Type.FLOAT else np.float64(said)

    def _term(self, term: ET.Element, at: int, scope: Scope) -> None:
        weight = self._number(term, "coefficient")
        if term.tag == "NumericPredictor":
            symbol = numeric(scope.find(term.get("name", term.get("field"))), term)
            key = (symbol.name, number(term, "exponent", 1.0))
            place = self._columns.get(key)
            if place is None or place in self._weights[at]:  # of what is infinite, terms do not add up first
                place = self._columns[key] = len(self._numbers)
                self._numbers.append(_Numeric(symbol, key[1]))
            self._weights[at][place] = weight
        elif term.tag == "CategoricalPredictor":
            symbol = scope.find(term.get("name", term.get("field")))
            scope.reading.tolerant.add(symbol.name)
            self._flags.append((symbol, constant(text_of(term, "value"), symbol.kind, describe(term))))
            self._flag_weights.append((at, weight))
        elif term.tag == "PredictorTerm":
            factors = tuple(numeric(scope.find(f.get("field")), term) for f in term.findall("FieldRef"))
            if not factors or len(factors) != len(term):
                refuse(f"{describe(term)} holds more than fields")
            self._products.append((factors, at))
            self._product_weights.append((at, weight))
        else:
            refuse(f"a regression table holds a {term.tag}")

    def compute(self, batch: Batch) -> NDArray:
        """The sums, NaN where one is missing."""
        count, dtype = batch.count, self._kind.numpy
        lost: Mask | None = None
        if self._numbers:
            x = np.empty((count, len(self._numbers)), dtype)
            missing: list[tuple[int, Mask]] = []
            for k in self._gather.fill(batch, x):
                one = self._numbers[k]
                column = one.symbol.column(batch)
                x[:, k] = column.values if one.power == 1.0 else _powered(column.values, one.power)
                if column.missing is not None:
                    absent = column.mask(count)
                    x[absent, k] = 0
                    missing.append((k, absent))
            out = self._of_numbers(x)
            for k, absent in missing:
                rows = absent[:, None] & self._used[k]
                lost = either(lost, rows)
        else:
            out = np.tile(self._start, (count, 1))
        for (symbol, value), (at, weight) in zip(self._flags, self._flag_weights, strict=True):
            column = symbol.known(batch)
            hit = column.values == value
            if column.missing is not None:
                hit = hit & ~column.missing
            out[:, at] += np.asarray(hit, dtype) * weight
        for (factors, at), (_, weight) in zip(self._products, self._product_weights, strict=True):
            product = np.full(count, weight, dtype)
            for symbol in factors:
                column = symbol.column(batch)
                product = product * column.values.astype(dtype)
                if column.missing is not None:
                    rows = np.zeros(out.shape, bool)
                    rows[:, at] = column.mask(count)
                    lost = either(lost, rows)
            out[:, at] += product
        if self._kind is Type.FLOAT:
            out += self._intercepts
        if lost is not None:
            out[lost] = np.nan
        return out

    def _of_numbers(self, x: NDArray) -> NDArray:
        """Of float32 in the order of the terms, as `accumulate` adds: a product of matrices rounds them in
        another way for each number of rows."""
        if self._kind is not Type.FLOAT:
            return x @ self._matrix + self._start
        columns = [np.add.accumulate(x * weights, axis=1)[:, -1] for weights in self._matrix.T]
        return np.column_stack(columns)


def _powered(values: NDArray, power: float) -> NDArray:
    with np.errstate(all="ignore"):
        return np.power(values.astype(np.float64), power)


def compile_regression(place: Place) -> Scorer:
    """A RegressionModel."""
    place.expect("classification", "regression")
    element = place.element
    method = choice(element, "normalizationMethod", NORMALIZATIONS, "none")
    tables = element.findall("RegressionTable")
    sums = Sums(tables, place.scope, place.kind)
    if place.function == "regression":
        if len(tables) != 1:
            refuse(f"a regression has {len(tables)} tables")
        if method == "simplemax":
            refuse("a regression of one table is normalised by simplemax")

        def score(batch: Batch) -> Result:
            return Result(value=number_column(inverse_link(method, sums.compute(batch)[:, 0])))

        return Scorer("regression", score, place.kind)
    if place.exporter.name == SPARK and method in ("none", "logit") and len(tables) == 2:
        return _by_margin(method, tables, sums, place)
    shares = _shares(method, tables, place)
    # By these two a sum that is missing is missing in each probability as it is.
    if (len(tables) > 2 or len(tables[-1])) and method not in ("softmax", "simplemax"):
        shares = _of_known(shares)
    categories = place.categories()
    order = categories.places(text_of(t, "targetCategory") for t in tables)
    if len(set(order)) < len(order):
        refuse("two regression tables are for one category")
    width = len(categories.names)
    ordered, places = order == list(range(width)), np.array(order)

    def classify(batch: Batch) -> Result:
        found = shares(sums.compute(batch))
        if ordered:
            return Result(label=most_probable(found), probabilities=found)
        out = np.zeros((batch.count, width))
        if width > len(places):
            out[np.isnan(found).any(axis=1)] = np.nan
        out[:, places] = found
        # Between equal probabilities the category of the earlier table wins.
        best = most_probable(found)
        label = np.where(best < 0, -1, places[best])
        return Result(label=label, probabilities=out)

    return Scorer("classification", classify, categories=tuple(categories.names), probable=True)


def _by_margin(method: str, tables: Sequence[ET.Element], sums: Sums, place: Place) -> Scorer:
    """A binary classifier of Spark: the first category where its sum is above the threshold of the library,
    which is the intercept of the other table. A support vector machine (`none`) has no probabilities."""
    if len(tables[1]):
        refuse("the second table of a binary classifier of Spark holds more than a threshold")
    categories = place.categories()
    first, second = categories.places(text_of(t, "targetCategory") for t in tables)
    if first == second or len(categories.names) != 2:
        refuse("the two tables of a binary classifier of Spark are not one for each category")

    def classify(batch: Batch) -> Result:
        found = sums.compute(batch)
        label = np.where(found[:, 0] > found[:, 1], first, second)
        label = np.where(np.isnan(found[:, 0]), -1, label)
        if method == "none":
            return Result(label=label)
        share = inverse_link(method, found[:, 0])
        out = np.empty_like(found)
        out[:, first], out[:, second] = share, share.dtype.type(1) - share
        return Result(label=label, probabilities=out)

    return Scorer("classification", classify, categories=tuple(categories.names), probable=method == "logit")


def _shares(method: str, tables: Sequence[ET.Element], place: Place) -> Callable[[NDArray], NDArray]:
    """From the sums `(n, tables)` to probabilities `(n, tables)`."""
    count = len(tables)
    ordinal = place.target is not None and place.target.optype == "ordinal"
    if count < 2:
        refuse(f"a classification has {count} regression tables")
    if ordinal and (method not in ("softmax", "simplemax") or count > 2):
        return _cumulative(method, tables, place)
    if method == "softmax":
        return softmax
    if method == "simplemax":
        return lambda sums: sums / sums.sum(axis=1, keepdims=True)
    if method == "exp" or (count > 2 and method != "none"):
        refuse(f"a regression of {count} categories is normalised by {method!r}, which is not read alike")

    def with_rest(sums: NDArray) -> NDArray:
        """The last category has what the others leave."""
        out = np.empty_like(sums)
        found = inverse_link(method, sums[:, :-1])
        out[:, :-1] = found = np.clip(found, 0, 1) if count == 2 and method == "none" else found
        out[:, -1] = found.dtype.type(1) - found.sum(axis=1)
        return out

    return with_rest


def _of_known(shares: Callable[[NDArray], NDArray]) -> Callable[[NDArray], NDArray]:
    """Shares where no table lacks a value, also one whose sum is not asked for."""

    def known(sums: NDArray) -> NDArray:
        lacking = np.isnan(sums).any(axis=1)
        found = shares(sums)
        return np.where(lacking[:, None], np.nan, found) if some(lacking) else found

    return known


def _cumulative(method: str, tables: Sequence[ET.Element], place: Place) -> Callable[[NDArray], NDArray]:
    """Of ordered categories: the inverse of a table's sum is the probability of its category or one before
    (PMML 4.4, Regression: ordinal target). NaN where these do not ascend from 0 to 1."""
    if method not in ("none", "logit", "probit", "cloglog", "loglog", "cauchit"):
        refuse(f"a regression of an ordinal target is normalised by {method!r}")
    said = [text_of(t, "targetCategory") for t in tables]
    if Categories(place.target).places(said) != list(range(len(said))):
        refuse("the regression tables of an ordinal target are not in the order of its values")

    def shares(sums: NDArray) -> NDArray:
        out = np.diff(inverse_link(method, sums[:, :-1]), axis=1, prepend=0.0, append=1.0)
        out[(out < 0).any(axis=1)] = np.nan
        return out

    return shares
