"""NaiveBayesModel: categories by the product of what each input says for itself."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.elements import (
    EXPRESSIONS,
    children,
    describe,
    expression_of,
    number,
    refuse,
    required,
    text_of,
)
from udfs.models.runtimes.pmml.compiler.expressions import Site, compile_expression, converted
from udfs.models.runtimes.pmml.compiler.place import NYOKA, Categories, Place, R
from udfs.models.runtimes.pmml.compiler.regression import numeric
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, most_probable
from udfs.models.runtimes.pmml.compiler.types import constant, type_named

Terms = Callable[[Batch], NDArray[np.float64]]
Density = Callable[[Batch, Column], NDArray[np.float64]]
"""Logarithms of densities, `(n, categories)`."""
_GAUSSIAN, _POISSON = "GaussianDistribution", "PoissonDistribution"
_MOST_COUNTED = 1e300  # `lgamma` of a million times as much is no double


def compile_naive_bayes(place: Place) -> Scorer:
    """A NaiveBayesModel; a missing input says nothing. Probabilities below the threshold count as it."""
    place.expect("classification")
    element = place.element
    threshold = number(element, "threshold")
    if place.exporter.name == NYOKA:
        threshold = 0.0  # it writes 0.001 for scikit-learn's models, which know no threshold
    categories = place.categories()
    output = element.find("BayesOutput/TargetValueCounts")
    priors = _counts(required(element, "BayesOutput") if output is None else output, categories)
    with np.errstate(divide="ignore"):
        start = np.log(priors)
    terms: list[Terms] = []
    for given in element.findall("BayesInputs/BayesInput"):
        symbol = _input(given, place)
        place.scope.reading.tolerant |= {symbol.name, *place.scope.reading.rests_on.get(symbol.name, ())}
        stats = given.find("TargetValueStats")
        if stats is not None:
            least = math.ulp(0.0) if place.exporter.name in R else threshold
            terms.append(_density(symbol, stats, categories, (least, threshold), given))
        else:
            terms.append(_table(symbol, given, categories, threshold))
    if len(categories.names) != len(priors):
        refuse("a BayesInput counts a category that the output does not")

    def score(batch: Batch) -> Result:
        total = np.broadcast_to(start, (batch.count, len(start)))
        for term in terms:
            total = total + term(batch)
        with np.errstate(invalid="ignore"):
            raised = np.exp(total - total.max(axis=1, keepdims=True))
            shares = raised / raised.sum(axis=1, keepdims=True)
        return Result(label=most_probable(shares), probabilities=shares)

    return Scorer("classification", score, categories=tuple(categories.names), probable=True)


def _input(given: ET.Element, place: Place) -> Symbol:
    derived = given.find("DerivedField")
    if derived is None:
        return place.scope.find(given.get("fieldName"))
    if children(given, EXPRESSIONS):
        refuse(f"{describe(given)} has an expression beside its derived field")
    kind = type_named(derived.get("dataType", derived.get("datatype")), "a derived field of a BayesInput")
    made = converted(
        compile_expression(expression_of(derived), Site(place.scope, wanted=kind)), kind, "a BayesInput"
    )
    name = derived.get("name") or given.get("fieldName") or ""
    place.scope.reading.rests_on.setdefault(name, set()).update(made.reads)
    return Symbol(name, kind, made.compute, "", made.depth + 1, strict=made.strict)


def _counts(element: ET.Element, categories: Categories) -> NDArray[np.float64]:
    """The counts of a TargetValueCounts by category; a category that it does not list has none."""
    out = np.zeros(len(categories.names))
    for count in element.iter("TargetValueCount"):
        at = categories.place(text_of(count, "value"))
        if at >= len(out):
            out = np.append(out, np.zeros(at + 1 - len(out)))
        out[at] = number(count, "count")
        if out[at] < 0:
            refuse("a TargetValueCount is negative")
    return out


def _density(
    symbol: Symbol, stats: ET.Element, categories: Categories, floor: tuple[float, float], given: ET.Element
) -> Terms:
    """Densities of numbers. `floor`: (a, b), those below a count as b. R puts the threshold only where a
    density is 0, all others where it is below the threshold."""
    numeric(symbol, given)
    width = len(categories.names)
    mean, variance = np.full(width, np.nan), np.full(width, np.nan)
    stated = stats.findall("TargetValueStat")
    known = {e.tag for stat in stated for e in stat}
    if any(len(stat) != 1 for stat in stated) or known not in ({_GAUSSIAN}, {_POISSON}):
        refuse(f"the statistics of {describe(given)} are {' and '.join(sorted(known))}")
    for stat in stated:
        at = categories.place(text_of(stat, "value"))
        if at >= width:
            refuse(f"{describe(given)} has a distribution for a category that the output does not count")
        mean[at] = number(stat[0], "mean")
        variance[at] = mean[at] if known == {_POISSON} else number(stat[0], "variance")
    if not (variance > 0).all():
        refuse(f"{describe(given)} has no distribution for a category, or one without variance")
    least, instead = (math.log(f) if f > 0 else -math.inf for f in floor)
    density = _gaussian(mean, variance) if known == {_GAUSSIAN} else _poisson(mean, symbol.name)

    def term(batch: Batch) -> NDArray[np.float64]:
        column = symbol.known(batch)
        out = density(batch, column)
        out = np.where(out < least, instead, out)
        if column.missing is not None:
            out[column.mask(batch.count)] = 0.0
        return out

    return term


def _numbers(batch: Batch, column: Column) -> NDArray[np.float64]:
    return np.broadcast_to(column.values, (batch.count,)).astype(np.float64)


def _gaussian(mean: NDArray, variance: NDArray) -> Density:
    constant_part = -0.5 * np.log(2.0 * math.pi * variance)

    def logs(batch: Batch, column: Column) -> NDArray[np.float64]:
        gap = _numbers(batch, column)[:, None] - mean
        return constant_part - gap * gap / (2.0 * variance)

    return logs


def _poisson(mean: NDArray, name: str) -> Density:
    """Of how often something was counted; a row with a fraction is refused."""
    log_mean = np.log(mean)

    def logs(batch: Batch, column: Column) -> NDArray[np.float64]:
        values = _numbers(batch, column)
        fraction = (values != np.floor(values)) & ~column.mask(batch.count)
        batch.refuse(fraction, f"the field {name!r} counts, and holds a fraction")
        counts = np.clip(values, 0.0, _MOST_COUNTED)
        ways = np.fromiter(map(math.lgamma, counts + 1.0), np.float64, len(counts))
        made = counts[:, None] * log_mean - mean - ways[:, None]
        return np.where((values < 0)[:, None], -np.inf, made)

    return logs


def _table(symbol: Symbol, given: ET.Element, categories: Categories, threshold: float) -> Terms:
    width = len(categories.names)
    pairs = [
        (constant(text_of(p, "value"), symbol.kind, describe(given)), _counts(p, categories))
        for p in given.findall("PairCounts")
    ]
    if not pairs or any(len(counts) != width for _, counts in pairs):
        refuse(f"{describe(given)} counts no values, or a category that the output does not")
    total = np.sum([counts for _, counts in pairs], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [np.where(total > 0, counts / total, 0.0) for _, counts in pairs]
        logs = [np.log(np.where(s > 0, s, threshold)) for s in shares]

    def term(batch: Batch) -> NDArray[np.float64]:
        """A value that was never counted says nothing, as a missing one."""
        column = symbol.known(batch)
        out = np.zeros((batch.count, width))
        for (value, _), row in zip(pairs, logs, strict=True):
            hit = np.broadcast_to(column.values == value, (batch.count,))
            out[hit] = row
        if column.missing is not None:
            out[column.mask(batch.count)] = 0.0
        return out

    return term
