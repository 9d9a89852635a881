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
from collections.abc import Iterable

from udfs.lifecycle.statistics.moments import Moments

Arms = tuple[Moments, Moments]
"""The control's and the treatment's."""


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


def difference(parts: Iterable[Arms], alpha: float, *, burn_in: int, expected: int) -> tuple[float, float]:
    """An interval for treatment mean - control mean, at all times; all numbers before `burn_in` entities an
    arm.

    `parts`: entities that were drawn with the same share, each part by itself. Where the share grows while
    the mean rises, the treatment has more of the later entities: means of all of an arm would differ although
    those of each part do not. The differences of parts count by what they tell, n m / (n + m) of n and m
    entities. The sum of that, four times, which of equal arms is the number of entities, is the time by which
    the sequence goes; `expected`: the time at which it shall be tightest.
    """
    told = [(c, t, c.count * t.count / (c.count + t.count)) for c, t in parts if min(c.count, t.count) > 1]
    known = (sum(c.count for c, _, _ in told), sum(t.count for _, t, _ in told))
    if min(known) < max(burn_in, 2) or _all_are_one(m for c, t, _ in told for m in (c, t)):
        return -math.inf, math.inf
    whole = sum(weight for _, _, weight in told)
    middle = sum(weight / whole * (t.mean - c.mean) for c, t, weight in told)
    variance = sum((weight / whole) ** 2 * (_of_mean(c) + _of_mean(t)) for c, t, weight in told)
    return _around(middle, 4 * whole * variance, 4 * whole, alpha, expected)


def paired_difference(
    differences: Moments, alpha: float, *, burn_in: int, expected: int
) -> tuple[float, float]:
    """The same from the differences of entities that have a value of each arm. `expected`: entities."""
    none = differences.least == differences.most == 0
    if differences.count < max(burn_in, 2) or none:
        return -math.inf, math.inf
    count = differences.count
    return _around(differences.mean, differences.squares / (count - 1), count, alpha, expected)


def _all_are_one(values: Iterable[Moments]) -> bool:
    """Whether no value differs from another: then nothing tells how large those are that have not come yet,
    as of what is seldom."""
    found = list(values)
    return min(one.least for one in found) == max(one.most for one in found)


def _of_mean(of: Moments) -> float:
    """The variance of the mean."""
    return of.squares / (of.count - 1) / of.count


def _around(middle: float, variance: float, count: float, alpha: float, expected: int) -> tuple[float, float]:
    width = half_width(math.sqrt(variance), count, alpha, prior_for(expected, alpha))
    return middle - width, middle + width
