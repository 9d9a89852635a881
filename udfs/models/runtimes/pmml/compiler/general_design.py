"""What the parameters of a GeneralRegressionModel are over a micro-batch: products of predictors."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Mask, either
from udfs.models.runtimes.pmml.compiler.elements import (
    describe,
    matrix_numbers,
    number,
    refuse,
    required,
    text_of,
)
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.regression import numeric
from udfs.models.runtimes.pmml.compiler.types import constant


@dataclass(frozen=True, slots=True)
class _Power:
    """A covariate: a power of it."""

    symbol: Symbol
    power: float

    def of(self, values: NDArray) -> NDArray:
        if self.power == 1.0:
            return values
        with np.errstate(all="ignore"):
            return np.power(values.astype(np.float64), self.power)


@dataclass(frozen=True, slots=True)
class _Contrast:
    """A factor: a number for each of some values, `other` for all others (NaN: there is no result)."""

    symbol: Symbol
    numbers: tuple[tuple[object, float], ...]
    other: float

    def of(self, values: NDArray) -> NDArray:
        out = np.full(np.shape(values), self.other)
        for value, one in self.numbers:
            out[values == value] = one
        return out


@dataclass(frozen=True, slots=True)
class Design:
    """The parameters over a micro-batch, and their coefficients: `(parameters, categories)`.

    `groups`: the categories that coefficients are for, None for those that are for all. `reference`: the
    parameters at the reference point of a survival model, `(parameters,)`.
    """

    factors: tuple[tuple[_Power | _Contrast, ...], ...]
    betas: NDArray[np.float64]
    groups: tuple[str | None, ...]
    reference: NDArray[np.float64]
    offset: Symbol | float

    def sums(self, batch: Batch) -> NDArray[np.float64]:
        """`(n, categories)`, NaN where a predictor is missing, or is of a category without contrasts."""
        x = np.ones((batch.count, len(self.factors)))
        missing: Mask | None = None
        for k, factors in enumerate(self.factors):
            for factor in factors:
                column = factor.symbol.known(batch)
                x[:, k] *= factor.of(column.values)
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


def compile_design(place: Place) -> Design:
    """The ParameterList, FactorList, CovariateList, PPMatrix and ParamMatrix of a GeneralRegressionModel."""
    element, scope = place.element, place.scope
    listed = element.findall("ParameterList/Parameter")
    parameters = [text_of(p, "name") for p in listed]
    categorical = {p.get("name"): p for p in element.findall("FactorList/Predictor")}
    if any("contrastMatrixType" in p.attrib for p in element.findall("CovariateList/Predictor")):
        refuse("a covariate of a GeneralRegressionModel has a matrix of contrasts")
    factors: dict[str, list[_Power | _Contrast]] = {p: [] for p in parameters}
    for cell in element.findall("PPMatrix/PPCell"):
        if cell.get("targetCategory") is not None or cell.get("parameterName") not in factors:
            refuse("a PPCell is for a category, or for a parameter that is not listed")
        symbol = scope.find(cell.get("predictorName"))
        predictor = categorical.get(symbol.name)
        if predictor is not None:
            factor: _Power | _Contrast = _contrast(predictor, symbol, cell)
        else:
            factor = _Power(numeric(symbol, cell), number(cell, "value", 1.0))
        factors[cell.get("parameterName", "")].append(factor)
    cells = element.findall("ParamMatrix/PCell")
    groups = list(dict.fromkeys(c.get("targetCategory") for c in cells))
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
    reference = np.array([number(p, "referencePoint", 0.0) for p in listed], np.float64)
    return Design(tuple(tuple(factors[p]) for p in parameters), betas, tuple(groups), reference, offset)


def _contrast(predictor: ET.Element, symbol: Symbol, cell: ET.Element) -> _Contrast:
    """What a factor is in a parameter: whether it has the cell's value, or the number that its matrix of
    contrasts has in the row of its own category and the column of the cell's (PMML 4.4, General Regression).
    """
    said = text_of(cell, "value")
    if predictor.find("Matrix") is None:
        if "contrastMatrixType" in predictor.attrib or predictor.find("Categories") is not None:
            refuse(f"the factor {symbol.name!r} has contrasts and no matrix of them")
        return _Contrast(symbol, ((constant(said, symbol.kind, describe(cell)), 1.0),), 0.0)
    listed = predictor.find("Categories")
    if listed is not None:
        values = [constant(text_of(c, "value"), symbol.kind, describe(predictor)) for c in listed]
    else:  # those of the field itself, in its order
        values = list(symbol.categories)
    matrix = matrix_numbers(required(predictor, "Matrix"))
    if len(predictor.findall("Matrix")) > 1 or len(predictor.findall("Categories")) > 1:
        refuse(f"the factor {symbol.name!r} has more than one Matrix or Categories")
    if len(set(values)) < len(values) or len(matrix) != len(values):
        refuse(f"the matrix of contrasts of {symbol.name!r} has not a row for each category")
    asked = constant(said, symbol.kind, describe(cell))
    if asked not in values or values.index(asked) >= matrix.shape[1]:
        refuse(f"{describe(cell)} asks for the contrast {said!r} of {symbol.name!r}, which has no column")
    column: Sequence[float] = matrix[:, values.index(asked)].tolist()
    return _Contrast(symbol, tuple(zip(values, column, strict=True)), np.nan)
