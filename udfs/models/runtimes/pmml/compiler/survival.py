"""Cox regression: the cumulative hazard of a record until a time."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.elements import number, refuse, required, text_of
from udfs.models.runtimes.pmml.compiler.general_design import Design
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.regression import numeric
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, number_column
from udfs.models.runtimes.pmml.compiler.types import constant


@dataclass(frozen=True, slots=True)
class _Baseline:
    """The cumulative hazard at the reference point, a step at each of `times`, until `last`."""

    times: NDArray[np.float64]
    hazards: NDArray[np.float64]
    last: float

    def until(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(n,)` at times `(n,)`: that of the latest step not after the time, 0 before the first; NaN after
        the last time."""
        steps = np.searchsorted(self.times, times, side="right")
        found = np.concatenate([[0.0], self.hazards])[steps]
        return np.where(times > self.last, np.nan, found)


def compile_cox(place: Place, design: Design) -> Scorer:
    """A CoxRegression, scored as in General Regression of PMML 4.4: the baseline's cumulative hazard until
    `endTimeVariable`, times the exponential of the weighted sum less that of the reference point."""
    place.expect("regression")
    element = place.element
    if any(group is not None for group in design.groups):
        refuse("a CoxRegression has coefficients for a category")
    end = numeric(place.scope.find(text_of(element, "endTimeVariable")), element)
    tables = required(element, "BaseCumHazardTables")
    named = element.get("baselineStrataVariable")
    if named is None:
        strata, baselines = None, [(None, _baseline(tables))]
    else:
        strata = place.scope.find(named)
        found = tables.findall("BaselineStratum")
        baselines = [(constant(text_of(s, "value"), strata.kind, s.tag), _baseline(s)) for s in found]
        if len({value for value, _ in baselines}) < len(baselines) or not baselines:
            refuse("a CoxRegression has no baseline for its strata, or two for one")
    at_reference = float(design.reference @ design.betas.sum(axis=1))

    def score(batch: Batch) -> Result:
        column = end.known(batch)
        times = np.array(column.full(batch.count), np.float64)
        missing = column.mask(batch.count)
        hazard = np.full(batch.count, np.nan)
        if strata is None:
            hazard = baselines[0][1].until(times)
        else:
            stratum = strata.known(batch)
            values = stratum.full(batch.count)
            missing = missing | stratum.mask(batch.count)
            for value, baseline in baselines:
                rows = values == value
                hazard[rows] = baseline.until(times[rows])
        hazard = hazard * np.exp(design.sums(batch).sum(axis=1) - at_reference)
        return Result(value=number_column(np.where(missing, np.nan, hazard)))

    return Scorer("regression", score)


def _baseline(element: ET.Element) -> _Baseline:
    cells = element.findall("BaselineCell")
    times = np.array([number(c, "time") for c in cells])
    hazards = np.array([number(c, "cumHazard") for c in cells])
    order = np.argsort(times, kind="stable")
    if not len(cells) or (np.diff(times[order]) == 0).any():
        refuse(f"a {element.tag} has no hazards, or two for one time")
    return _Baseline(times[order], hazards[order], number(element, "maxTime"))
