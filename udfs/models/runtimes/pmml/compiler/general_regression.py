"""GeneralRegressionModel: parameters made of predictors, and links from their sums to predictions."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Mask, either
from udfs.models.runtimes.pmml.compiler.elements import choice, describe, number, refuse, text_of
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.regression import inverse_link, numeric, softmax
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, most_probable, number_column
from udfs.models.runtimes.pmml.compiler.types import constant

_TYPES = ("regression", "generalLinear", "generalizedLinear", "multinomialLogistic", "ordinalMultinomial")
_LINKS = ("identity", "log", "logit", "probit", "cloglog", "loglog", "cauchit", "power")
_UNKNOWN = ("trialsVariable", "trialsValue", "endTimeVariable", "cumulativeLinkFunction")


@dataclass(frozen=True, slots=True)
class _Factor:
    """What a predictor multiplies a parameter by: a power of it, or whether it has a value."""

    symbol: Symbol
    power: float | None
    value: object


@dataclass(frozen=True, slots=True)
class _Design:
    """The parameters over a micro-batch, and their coefficients: `(parameters, categories)`."""

    factors: tuple[tuple[_Factor, ...], ...]
    betas: NDArray[np.float64]
    offset: Symbol | float

    def sums(self, batch: Batch) -> NDArray[np.float64]:
        """`(n, categories)`, NaN where a predictor is missing."""
        x = np.ones((batch.count, len(self.factors)))
        missing: Mask | None = None
        for k, factors in enumerate(self.factors):
            for factor in factors:
                column = factor.symbol.known(batch)
                if factor.power is None:
                    x[:, k] *= column.values == factor.value
                elif factor.power == 1.0:
                    x[:, k] *= column.values
                else:
                    with np.errstate(all="ignore"):
                        x[:, k] *= np.power(column.values.astype(np.float64), factor.power)
                missing = either(missing, column.missing)
        out = x @ self.betas
        if isinstance(self.offset, Symbol):
            column = self.offset.column(batch)
            out = out + np.broadcast_to(column.values, (batch.count,))[:, None]
            missing = either(missing, column.missing)
        else:
            out = out + self.offset
        if missing is not None:
            out[np.broadcast_to(missing, (batch.count,))] = np.nan
        return out


def compile_general_regression(place: Place) -> Scorer:
    """A GeneralRegressionModel; survival models and contrasts are refused."""
    place.expect("classification", "regression")
    element = place.element
    kind = choice(element, "modelType", _TYPES)
    odd = [a for a in _UNKNOWN if a in element.attrib]
    if odd:
        refuse(f"the attribute {odd[0]!r} of a GeneralRegressionModel is not known")
    if any(e.tag == "Matrix" or "contrastMatrixType" in e.attrib for e in element.iter()):
        refuse("a GeneralRegressionModel has a matrix of contrasts")
    cells = element.findall("ParamMatrix/PCell")
    named = [c.get("targetCategory") for c in cells]
    groups = list(dict.fromkeys(named))
    design = _design(place, cells, groups)
    if place.function == "regression":
        if len(groups) != 1 or kind not in ("regression", "generalLinear", "generalizedLinear"):
            refuse(f"a {kind} regression has {len(groups)} sets of coefficients")

        def score(batch: Batch) -> Result:
            return Result(value=number_column(_linked(element, kind, design.sums(batch)[:, 0])))

        return Scorer("regression", score)
    return _classifier(place, kind, groups, design)


def _design(place: Place, cells: list[ET.Element], groups: list[str | None]) -> _Design:
    element, scope = place.element, place.scope
    parameters = [text_of(p, "name") for p in element.findall("ParameterList/Parameter")]
    if any(
        p.get("referencePoint", "0") not in ("0", "0.0") for p in element.findall("ParameterList/Parameter")
    ):
        refuse("a parameter of a GeneralRegressionModel has a reference point")
    categorical = {p.get("name") for p in element.findall("FactorList/Predictor")}
    factors: dict[str, list[_Factor]] = {p: [] for p in parameters}
    for cell in element.findall("PPMatrix/PPCell"):
        if cell.get("targetCategory") is not None or cell.get("parameterName") not in factors:
            refuse("a PPCell is for a category, or for a parameter that is not listed")
        symbol = scope.find(cell.get("predictorName"))
        if symbol.name in categorical:
            factor = _Factor(symbol, None, constant(text_of(cell, "value"), symbol.kind, describe(cell)))
        else:
            factor = _Factor(numeric(symbol, cell), number(cell, "value", 1.0), None)
        factors[cell.get("parameterName", "")].append(factor)
    betas = np.zeros((len(parameters), len(groups)))
    for cell in cells:
        if cell.get("parameterName") not in factors:
            refuse(f"a coefficient is for the parameter {cell.get('parameterName')!r}, which is not listed")
        betas[parameters.index(cell.get("parameterName", "")), groups.index(cell.get("targetCategory"))] += (
            number(cell, "beta")
        )
    named = element.get("offsetVariable")
    if named is not None and "offsetValue" in element.attrib:
        refuse("a GeneralRegressionModel has two offsets")
    offset: Symbol | float = number(element, "offsetValue", 0.0)
    if named is not None:
        offset = numeric(scope.find(named), element)
    return _Design(tuple(tuple(factors[p]) for p in parameters), betas, offset)


def _linked(element: ET.Element, kind: str, sums: NDArray) -> NDArray:
    """The inverse of the model's link, of a generalized model."""
    if kind != "generalizedLinear":
        return sums
    link = choice(element, "linkFunction", _LINKS, "identity")
    if link != "power":
        return inverse_link(link, sums)
    power = number(element, "linkParameter")
    with np.errstate(all="ignore"):
        return np.exp(sums) if power == 0 else np.power(sums, 1.0 / power)


def _classifier(place: Place, kind: str, groups: list[str | None], design: _Design) -> Scorer:
    element = place.element
    categories = place.categories()
    declared = len(categories.names)
    reference = element.get("targetReferenceCategory")
    if reference is not None:
        categories.place(reference)
    order = [categories.place(g) for g in groups if g is not None]
    names = categories.names
    if declared and len(names) > declared:
        refuse("a GeneralRegressionModel has coefficients for a category that the target does not declare")
    if kind == "generalizedLinear":
        _linked(element, kind, np.zeros(1))
        if len(groups) != 1 or len(names) != 2:
            refuse(
                f"a generalized linear classification has {len(groups)} sets of coefficients for "
                f"{len(names)} categories"
            )
        at = order[0] if order else (1 - categories.place(reference) if reference is not None else 0)
        if not order and reference is None:
            refuse("a generalized linear classification does not say which category it is for")

        def shares(sums: NDArray) -> NDArray:
            found = _linked(element, kind, sums[:, 0])
            return np.column_stack([found, 1.0 - found] if at == 0 else [1.0 - found, found])

    elif kind == "multinomialLogistic":
        if None in groups or sorted([*order, categories.place(reference or _left(names, order))]) != list(
            range(len(names))
        ):
            refuse("a multinomial model has not coefficients for each category but the reference")

        def shares(sums: NDArray) -> NDArray:
            full = np.zeros((len(sums), len(names)))
            full[:, order] = sums
            full[np.isnan(sums).any(axis=1)] = np.nan
            return softmax(full)

    else:
        refuse(f"a {kind} classification is not known")

    def classify(batch: Batch) -> Result:
        found = shares(design.sums(batch))
        return Result(label=most_probable(found), probabilities=found)

    return Scorer("classification", classify, categories=tuple(names), probable=True)


def _left(names: list[str], order: list[int]) -> str:
    left = [n for k, n in enumerate(names) if k not in order]
    if len(left) != 1:
        refuse("a multinomial model does not say which category is its reference")
    return left[0]
