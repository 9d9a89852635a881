"""Confidence sequences for means of outcomes without bounds.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences" (Annals of Statistics 52(6), 2024): after t observations with deviation s the mean is off by at
most

    s * sqrt(2 (t r + 1) / (t^2 r) * log(sqrt(t r + 1) / alpha)),

at all times from a burn-in on, with a probability that tends to 1 - alpha as the burn-in grows. It is
Robbins' normal mixture with prior variance r, which makes it tightest near one number of observations.
"""

from __future__ import annotations

import math

from udfs.lifecycle.statistics.moments import Moments


def prior_for(count: float, alpha: float) -> float:
    """The r that makes the sequence nearly tightest at `count` observations (Howard et al., 2021)."""
    spread = -2 * math.log(alpha)
    return (spread + math.log(spread + 1)) / count


def half_width(deviation: float, count: float, alpha: float, prior: float) -> float:
    """The two-sided half width; infinite before the first observation."""
    if count <= 0:
        return math.inf
    grown = count * prior + 1
    return deviation * math.sqrt(2 * grown / (count * count * prior) * math.log(math.sqrt(grown) / alpha))


def difference(
    control: Moments, treatment: Moments, alpha: float, *, burn_in: int, expected: int
) -> tuple[float, float]:
    """An interval for treatment mean - control mean, at all times; all numbers before `burn_in` entities an
    arm.

    `expected`: entities of both arms at which it shall be tightest. The deviation is that of a randomised
    comparison: t * (variance / n of each arm), by entity.
    """
    if min(control.count, treatment.count) < max(burn_in, 2):
        return -math.inf, math.inf
    count = control.count + treatment.count
    variance = sum(m.squares / (m.count - 1) / m.count for m in (control, treatment))
    return _around(treatment.mean - control.mean, count * variance, count, alpha, expected)


def paired_difference(
    differences: Moments, alpha: float, *, burn_in: int, expected: int
) -> tuple[float, float]:
    """The same from the differences of entities that have a value of each arm. `expected`: entities."""
    if differences.count < max(burn_in, 2):
        return -math.inf, math.inf
    count = differences.count
    return _around(differences.mean, differences.squares / (count - 1), count, alpha, expected)


def _around(middle: float, variance: float, count: float, alpha: float, expected: int) -> tuple[float, float]:
    width = half_width(math.sqrt(variance), count, alpha, prior_for(expected, alpha))
    return middle - width, middle + width
