"""Sums that lose nothing: parts add up to the same bits in any order, and what is taken out is gone.

A correction takes out what counted before it. In plain sums an outcome that was off by many orders of
magnitude would leave its rounding behind for good, and a sum of squares could fall below 0. So beside each
sum is kept what rounding left of it, as floats of falling size that do not overlap: Shewchuk, "Adaptive
precision floating-point arithmetic and fast robust geometric predicates" (Discrete and Computational Geometry
18, 1997).
"""

from __future__ import annotations

import math
from typing import Any

from schemas.errors import StatisticsError

Rest = tuple[float, ...]
"""What a sum lacks, to be added to it. Two or three numbers mostly; doubles give 40 at most."""

Exact = tuple[float, Rest]
"""A sum, rounded once, and its rest."""


def exact_sum(values: list[float]) -> Exact:
    """Of finite numbers. The list is used up."""
    total = part = math.fsum(values)
    rest: list[float] = []
    while part:
        values.append(-part)
        if part := math.fsum(values):
            rest.append(part)
    return total, tuple(rest)


def added(one: Exact, other: Exact, sign: int = 1) -> Exact:
    """Two such sums together, or with -1 the second one out of the first."""
    if not one[0] and sign > 0:  # a sum of 0 has no rest
        return other
    theirs = (other[0], *other[1])
    return exact_sum([one[0], *one[1], *(theirs if sign > 0 else [-part for part in theirs])])


def add_to(sums: Any, name: str, more: Exact, sign: int = 1) -> None:
    """To the sum of that name; its rest is in `sums.rests`, where there is one."""
    total, rest = added((getattr(sums, name), sums.rests.pop(name, ())), more, sign)
    setattr(sums, name, total)
    if rest:
        sums.rests[name] = rest


def merge_into(sums: Any, other: Any, sign: int = 1) -> None:
    """Take other sums of the same kind into these, or with -1 out of them: the kind's `COUNTS`, and what is
    exact of it (`EXACT`).

    Raises `StatisticsError` where they were counted under other `TERMS` of the kind.
    """
    for name in sums.TERMS:
        ours, theirs = getattr(sums, name), getattr(other, name)
        if ours != theirs:
            raise StatisticsError(f"sums of the {name} {ours} and of {theirs} do not add up")
    for name in sums.COUNTS:
        setattr(sums, name, getattr(sums, name) + sign * getattr(other, name))
    for name in sums.EXACT:
        add_to(sums, name, (getattr(other, name), other.rests.get(name, ())), sign)
