"""What tells two answers about one record apart, to the bit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.tensors import DType, Output


@dataclass(frozen=True, slots=True)
class Difference:
    """At one place of an output. `ulps`: how many float32 numbers the two are apart; None where they are no
    such numbers."""

    place: str
    stored: Any
    again: Any
    ulps: int | None = None

    def __str__(self) -> str:
        apart = "" if self.ulps is None else f" ({self.ulps} float32 steps apart)"
        return f"{self.place}: {self.stored!r} stored, {self.again!r} again{apart}"


def differences(
    stored: Mapping[str, Any], again: Mapping[str, Any], outputs: Sequence[Output]
) -> list[Difference]:
    """Where two answers differ: numbers by their bits, as JSON holds them."""
    narrow = {o.name for o in outputs if o.dtype is DType.FLOAT32}
    found = []
    for name in {**stored, **again}:
        pairs = _pairs(name, stored.get(name), again.get(name))
        for place, one, other in pairs:
            if repr(one) != repr(other):  # a float's is exact, and tells zeros apart
                ulps = _ulps(one, other) if name in narrow else None
                found.append(Difference(place, one, other, ulps))
    return found


def last_bit_only(found: Sequence[Difference]) -> bool:
    """Whether all of it is one step of float32, as calls with another number of records may give."""
    return all(one.ulps == 1 for one in found)


def _pairs(place: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from _pairs(f"{place}[{at}]", a, b)
    else:
        yield place, one, other


def _ulps(one: Any, other: Any) -> int | None:
    """How many steps apart two numbers are among those that float32 has."""
    numbers = (one, other)
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        return None
    with np.errstate(over="ignore"):
        a, b = (np.float32(n) for n in numbers)
    if not (math.isfinite(a) and math.isfinite(b)):
        return None
    return abs(_rank(a) - _rank(b))


def _rank(number: np.float32) -> int:
    bits = int(number.view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF) - 1
