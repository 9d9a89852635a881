"""What is kept of one metric of an experiment, and what it says so far. The unit is the entity."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import ExperimentError
from udfs.lifecycle.evidence.asymptotic import Arms, difference, paired_difference
from udfs.lifecycle.evidence.betting import BettingTest
from udfs.lifecycle.evidence.quantiles import quantile_interval
from udfs.lifecycle.experiments.declaration import Metric
from udfs.lifecycle.statistics.moments import Moments

Floats = NDArray[np.float64]

DURATIONS = np.concatenate([[0.0], np.geomspace(0.1, 600_000, 512), [np.inf]])
"""Ends of the bins in which durations (ms) are counted: each is 3.1 % wide."""


class Verdict(msgspec.Struct, frozen=True):
    """What one metric says. `evidence` is in words, for people and for the record."""

    harm: bool = False
    gain: bool = False
    evidence: str = ""


class BoundedMeasure(msgspec.Struct, tag="bounded"):
    """Two betting tests, on outcomes that are scaled to [0, 1] with higher as better."""

    harm: BettingTest
    gain: BettingTest

    @classmethod
    def of(cls, metric: Metric, gain_margin: float) -> BoundedMeasure:
        """`gain_margin`: the difference that a gain must exceed, in the metric's units."""
        width = metric.high - metric.low
        return cls(BettingTest(1, -metric.tolerance / width), BettingTest(-1, gain_margin / width))

    def add(self, metric: Metric, treated: NDArray[np.bool_], values: Floats, share: float) -> None:
        scaled = _scaled(metric, values)
        self.harm.add(treated, scaled, share)
        self.gain.add(treated, scaled, share)

    def add_pairs(self, metric: Metric, control: Floats, treatment: Floats) -> None:
        control, treatment = _scaled(metric, control), _scaled(metric, treatment)
        self.harm.add_pairs(control, treatment)
        self.gain.add_pairs(control, treatment)

    @property
    def entities(self) -> int:
        """That had a value."""
        return self.harm.count

    def verdict(self, metric: Metric, harm_alpha: float, gain_alpha: float) -> Verdict:
        harm, gain = self.harm.highest, self.gain.highest
        said = f"betting evidence e^{harm:.2f} for harm, e^{gain:.2f} for gain, {self.harm.count} entities"
        return Verdict(harm >= -math.log(harm_alpha), gain >= -math.log(gain_alpha), f"{metric.name}: {said}")


class MeanMeasure(msgspec.Struct, tag="mean"):
    """Moments of each arm, by step of the ramp, for an asymptotic confidence sequence of their difference; of
    pairs those of the differences. `control` and `treatment`: of all steps, in a state from before these were
    told apart."""

    gain_margin: float
    burn_in: int
    expected: int
    control: Moments = Moments()
    treatment: Moments = Moments()
    differences: Moments = Moments()
    steps: dict[int, Arms] = {}

    def add_pairs(self, control: Floats, treatment: Floats) -> None:
        self.differences = self.differences.merged(Moments.of(treatment - control))

    def add(self, treated: NDArray[np.bool_], values: Floats, step: int) -> None:
        control, treatment = self.steps.get(step, (Moments(), Moments()))
        control = control.merged(Moments.of(values[~treated]))
        self.steps[step] = control, treatment.merged(Moments.of(values[treated]))

    @property
    def entities(self) -> int:
        """That had a value."""
        return self.differences.count + sum(one.count for arms in self._parts() for one in arms)

    def verdict(self, metric: Metric, harm_alpha: float, gain_alpha: float) -> Verdict:
        # one side of an interval at 2 alpha is wrong with probability alpha
        low, high = self._interval(2 * harm_alpha)
        low_gain, high_gain = self._interval(2 * gain_alpha)
        if metric.better == "higher":
            harm, gain = high < -metric.tolerance, low_gain > self.gain_margin
        else:
            harm, gain = low > metric.tolerance, high_gain < -self.gain_margin
        return Verdict(harm, gain, f"{metric.name}: the difference lies between {low:.4g} and {high:.4g}")

    def _interval(self, alpha: float) -> tuple[float, float]:
        level = min(alpha, 0.5)
        if self.differences.count:
            return paired_difference(self.differences, level, burn_in=self.burn_in, expected=self.expected)
        return difference(self._parts(), level, burn_in=self.burn_in, expected=self.expected)

    def _parts(self) -> list[Arms]:
        return [(self.control, self.treatment), *self.steps.values()]


class QuantileMeasure(msgspec.Struct, tag="quantile"):
    """Counts of durations of each arm, by step of the ramp, for confidence sequences of their quantiles.

    Only arms of one step are compared: where durations rise while the share of the treatment does, it has
    more of the later ones. `control` and `treatment`: as of `MeanMeasure`.
    """

    control: list[int] = []
    treatment: list[int] = []
    steps: dict[int, tuple[list[int], list[int]]] = {}

    def add(self, treated: NDArray[np.bool_], values: Floats, step: int) -> None:
        control, treatment = self.steps.get(step, ([], []))
        self.steps[step] = _added(control, values[~treated]), _added(treatment, values[treated])

    @property
    def entities(self) -> int:
        """That had a value."""
        return sum(sum(control) + sum(treatment) for control, treatment in self._parts())

    def verdict(self, metric: Metric, harm_alpha: float, steps: int) -> Verdict:
        """`steps`: that there may be, which share the level evenly."""
        level = harm_alpha / 2 / (steps + bool(self.control))
        worst = (-math.inf, 0.0, math.inf, math.inf)
        for control, treatment in self._parts():
            _, usual = quantile_interval(np.array(control), DURATIONS, metric.q, level)
            now, most = quantile_interval(np.array(treatment), DURATIONS, metric.q, level)
            worst = max(worst, (now - usual, now, most, usual))
        off, now, most, usual = worst
        found = f"from {now:.4g} to {most:.4g} ms, control's at most {usual:.4g}"
        return Verdict(off > metric.tolerance, False, f"{metric.name}: p{metric.q * 100:g} {found}")

    def _parts(self) -> list[tuple[list[int], list[int]]]:
        return [*([(self.control, self.treatment)] if self.control else []), *self.steps.values()]


def _added(counts: list[int], values: Floats) -> list[int]:
    more = _counts(values)
    added: list[int] = (more + np.array(counts) if counts else more).tolist()
    return added


def _counts(values: Floats) -> NDArray[np.int64]:
    """Bin i holds what is above its lower and at most its upper end; 0 is in the first."""
    place = np.searchsorted(DURATIONS[1:-1], values, side="left")
    return np.bincount(place, minlength=len(DURATIONS) - 1).astype(np.int64)


Measure = BoundedMeasure | MeanMeasure | QuantileMeasure


def measure_for(metric: Metric, gain_margin: float, burn_in: int, expected: int) -> Measure:
    """Nothing measured yet."""
    if metric.kind == "bounded":
        return BoundedMeasure.of(metric, gain_margin)
    if metric.kind == "mean":
        return MeanMeasure(gain_margin, burn_in, expected)
    return QuantileMeasure()


def add_to(
    measure: Measure, metric: Metric, treated: NDArray[np.bool_], values: Floats, *, share: float, step: int
) -> None:
    """Entities with their values, of shape (n,), which were drawn at one step, with one share of the
    treatment. An entity with NaN has no value of this metric.

    Raises `ExperimentError` for infinite values, for bounded ones out of bounds, and for negative durations.
    """
    there = ~np.isnan(values)
    treated, values = treated[there], values[there]
    _check(metric, values)
    match measure:
        case BoundedMeasure():
            measure.add(metric, treated, values, share)
        case MeanMeasure() | QuantileMeasure():
            measure.add(treated, values, step)


def add_pairs_to(measure: Measure, metric: Metric, control: Floats, treatment: Floats) -> None:
    """Entities with a value of each arm, of shape (n,); one with NaN in either has none. As `add_to`."""
    there = ~(np.isnan(control) | np.isnan(treatment))
    control, treatment = control[there], treatment[there]
    _check(metric, np.concatenate([control, treatment]))
    match measure:
        case BoundedMeasure():
            measure.add_pairs(metric, control, treatment)
        case MeanMeasure():
            measure.add_pairs(control, treatment)
        case QuantileMeasure():  # each bound holds by itself, however the arms hang together
            arms = np.arange(2 * len(control)) >= len(control)
            measure.add(arms, np.concatenate([control, treatment]), 0)


def _check(metric: Metric, values: Floats) -> None:
    if np.isinf(values).any():
        raise ExperimentError(f"{metric.name} has infinite values: leave them out as NaN, or bound them")
    if metric.kind == "quantile" and (values < 0).any():
        raise ExperimentError(f"{metric.name} has negative durations: give ms from 0 up")


def _scaled(metric: Metric, values: Floats) -> Floats:
    scaled = (values - metric.low) / (metric.high - metric.low)
    return scaled if metric.better == "higher" else 1 - scaled
