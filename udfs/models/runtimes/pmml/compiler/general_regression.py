"""GeneralRegressionModel: parameters made of predictors, and links from their sums to predictions."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.elements import choice, number, refuse, whole
from udfs.models.runtimes.pmml.compiler.general_design import Design, compile_design
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.regression import inverse_link, numeric, softmax
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, most_probable, number_column
from udfs.models.runtimes.pmml.compiler.survival import compile_cox

_TYPES = (
    "regression", "generalLinear", "generalizedLinear", "multinomialLogistic", "ordinalMultinomial",
    "CoxRegression",
)  # fmt: skip
_LINKS = (
    "identity", "log", "logc", "logit", "probit", "cloglog", "loglog", "cauchit", "power", "oddspower",
    "negbin",
)  # fmt: skip
_CUMULATIVE = ("logit", "probit", "cloglog", "loglog", "cauchit")
# PMML 4.4 uses an offset in generalizedLinear, ordinalMultinomial and multinomialLogistic models only. Some
# programs add it to these too, others pass it over.
_WITHOUT_OFFSET = ("regression", "generalLinear", "CoxRegression")
_SURVIVAL = (
    "endTimeVariable", "startTimeVariable", "subjectIDVariable", "statusVariable", "baselineStrataVariable",
)  # fmt: skip

Inverse = Callable[[NDArray], NDArray]


def compile_general_regression(place: Place) -> Scorer:
    """A GeneralRegressionModel, as in General Regression of PMML 4.4."""
    place.expect("classification", "regression")
    element = place.element
    kind = choice(element, "modelType", _TYPES)
    design = compile_design(place)
    if kind in _WITHOUT_OFFSET and design.offset != 0.0:
        refuse(f"a {kind} model has an offset, which the standard has for other models only")
    if kind == "CoxRegression":
        return compile_cox(place, design)
    if any(name in element.attrib for name in _SURVIVAL) or element.find("BaseCumHazardTables") is not None:
        refuse(f"a {kind} model has what belongs to a CoxRegression")
    if design.reference.any():
        refuse(f"a parameter of a {kind} model has a reference point")
    groups = list(design.groups)
    if place.function == "regression":
        if len(groups) != 1 or kind not in ("regression", "generalLinear", "generalizedLinear"):
            refuse(f"a {kind} regression has {len(groups)} sets of coefficients")
        unlinked, trials = _unlinked(element, kind), _trials(place, kind)

        def score(batch: Batch) -> Result:
            return Result(value=number_column(unlinked(design.sums(batch)[:, 0]) * trials(batch)))

        return Scorer("regression", score)
    if "trialsVariable" in element.attrib or "trialsValue" in element.attrib:
        refuse("a classification has a number of trials")
    return (
        _ordinal(place, design) if kind == "ordinalMultinomial" else _classifier(place, kind, groups, design)
    )


def _trials(place: Place, kind: str) -> Callable[[Batch], NDArray | float]:
    """By what the share of events is multiplied, of a model of events in trials; NaN where it is missing."""
    element = place.element
    named = element.get("trialsVariable")
    if named is None and "trialsValue" not in element.attrib:
        return lambda batch: 1.0
    if (named is not None and "trialsValue" in element.attrib) or kind != "generalizedLinear":
        refuse(f"a {kind} model has a number of trials, or two")
    if element.get("distribution", "binomial") != "binomial":
        refuse(f"a model of the distribution {element.get('distribution')!r} has a number of trials")
    if named is None:
        fixed = whole(element, "trialsValue")
        if fixed < 1:
            refuse(f"a model has {fixed} trials")
        return lambda batch: float(fixed)
    symbol = numeric(place.scope.find(named), element)

    def trials(batch: Batch) -> NDArray:
        column = symbol.column(batch)
        found = np.array(column.full(batch.count), np.float64)
        found[column.mask(batch.count)] = np.nan
        no_count = (found < 0) | (found != np.floor(found))
        batch.refuse(no_count & ~np.isnan(found), f"the field {symbol.name!r} is no number of trials")
        return found

    return trials


def _unlinked(element: ET.Element, kind: str) -> Inverse:  # noqa: PLR0911 - one for each link
    """The inverse of the model's link, of a generalized model."""
    if kind != "generalizedLinear":
        return lambda sums: sums
    link = choice(element, "linkFunction", _LINKS)
    if link == "logc":
        return lambda sums: 1.0 - np.exp(sums)
    if link == "negbin":
        spread = number(element, "distParameter")
        return lambda sums: 1.0 / (spread * (np.exp(-sums) - 1.0))
    if link not in ("power", "oddspower"):
        return partial(inverse_link, link)
    power = number(element, "linkParameter")
    if power == 0:
        return partial(inverse_link, "log" if link == "power" else "logit")
    if link == "power":
        return lambda sums: np.power(sums, 1.0 / power)
    return lambda sums: 1.0 / (1.0 + np.power(1.0 + power * sums, -1.0 / power))


def _classifier(place: Place, kind: str, groups: list[str | None], design: Design) -> Scorer:
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
        unlinked = _unlinked(element, kind)
        if len(groups) != 1 or len(names) != 2:
            refuse(
                f"a generalized linear classification has {len(groups)} sets of coefficients for "
                f"{len(names)} categories"
            )
        at = order[0] if order else (1 - categories.place(reference) if reference is not None else 0)
        if not order and reference is None:
            refuse("a generalized linear classification does not say which category it is for")

        def shares(sums: NDArray) -> NDArray:
            found = unlinked(sums[:, 0])
            # Some links give what is no probability, of which the standard does not say what becomes.
            found = np.where((found >= 0) & (found <= 1), found, np.nan)
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


def _ordinal(place: Place, design: Design) -> Scorer:
    """Ordered categories. The sum of a category's own intercept and of what is common to all is, by the
    cumulative link, the probability of that category or one before it."""
    element = place.element
    names, groups = place.categories().names, design.groups
    reference = element.get("targetReferenceCategory")
    if "cumulativeLink" in element.attrib and "cumulativeLinkFunction" in element.attrib:
        refuse("an ordinal model has two cumulative links")
    said = "cumulativeLinkFunction" if "cumulativeLinkFunction" in element.attrib else "cumulativeLink"
    link = choice(element, said, _CUMULATIVE)
    if len(names) < 2 or {g for g in groups if g is not None} != set(names[:-1]):
        refuse("an ordinal model has not one intercept for each declared category but the last")
    if reference is not None and reference != names[-1]:
        refuse(f"the reference category of an ordinal model is {reference!r}, and not the last one")
    cells = [c for c in element.findall("ParamMatrix/PCell") if c.get("targetCategory") is not None]
    if len(cells) != len(names) - 1 or len({c.get("parameterName") for c in cells}) > 1:
        refuse("the categories of an ordinal model have more of their own than an intercept")
    betas = design.betas[:, [groups.index(name) for name in names[:-1]]]
    if (np.diff(betas.sum(axis=0)) < 0).any():
        refuse("the intercepts of an ordinal model do not ascend, so that probabilities are below 0")
    if None in groups:
        betas = betas + design.betas[:, [groups.index(None)]]
    until = replace(design, betas=betas)

    def classify(batch: Batch) -> Result:
        found = np.diff(inverse_link(link, until.sums(batch)), axis=1, prepend=0.0, append=1.0)
        return Result(label=most_probable(found), probabilities=found)

    return Scorer("classification", classify, categories=tuple(names), probable=True)


def _left(names: list[str], order: list[int]) -> str:
    left = [n for k, n in enumerate(names) if k not in order]
    if len(left) != 1:
        refuse("a multinomial model does not say which category is its reference")
    return left[0]
