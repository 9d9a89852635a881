"""What tells two answers about one record apart, to the bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.tensors import DType, Output


@dataclass(frozen=True, slots=True)
class Difference:
    """At one place of an output. `ulps`: how many numbers of its type the two are apart; None where they are
    no numbers with a fraction."""

    place: str
    stored: Any
    again: Any
    ulps: int | None = None

    def __str__(self) -> str:
        apart = "" if self.ulps is None else f" ({self.ulps} steps apart)"
        return f"{self.place}: {self.stored!r} stored, {self.again!r} again{apart}"


def differences(
    stored: Mapping[str, Any], again: Mapping[str, Any], outputs: Sequence[Output]
) -> list[Difference]:
    """Where two answers differ: numbers by their bits, as JSON holds them."""
    types = {o.name: o.dtype for o in outputs}
    found = []
    for name in {**stored, **again}:
        pairs = _pairs(name, stored.get(name), again.get(name))
        for place, one, other in pairs:
            if repr(one) != repr(other):  # a float's is exact, and tells zeros apart
                ulps = _ulps(one, other, types.get(name))
                found.append(Difference(place, one, other, ulps))
    return found


def last_bit_only(found: Sequence[Difference]) -> bool:
    """Whether all of it is one step, as calls with another number of records may give."""
    return all(one.ulps == 1 for one in found)


def _pairs(place: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from _pairs(f"{place}[{at}]", a, b)
    else:
        yield place, one, other


def _ulps(one: Any, other: Any, dtype: DType | None) -> int | None:
    """How many steps apart two numbers are among those that the type has."""
    numbers = (one, other)
    if dtype not in (DType.FLOAT32, DType.FLOAT64) or any(not isinstance(n, float) for n in numbers):
        return None
    with np.errstate(over="ignore"):
        values = np.array(numbers, dtype.numpy)
    if not np.isfinite(values).all():
        return None
    width = 8 * values.itemsize - 1
    a, b = (_rank(int(n), width) for n in values.view(f"i{values.itemsize}"))
    return abs(a - b)


def _rank(bits: int, width: int) -> int:
    """Where a number stands among all of its type, by its bits as a signed integer; zeros are two."""
    return bits if bits >= 0 else -(bits + (1 << width)) - 1
