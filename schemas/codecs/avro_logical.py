"""Avro's logical types as the numbers of all other encodings: times in milliseconds, decimals as numbers.

fastavro calls what a schema is marked with for each value that it reads, by the writer's schema, so that a
value of a union is converted as its own branch says. Its own conversions make objects of Python's datetime
and decimal, which take longer and know fewer years than 64 bits do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from fastavro.read import LOGICAL_READERS

from schemas.codecs.avro_walk import CONVERT, Convert, MisfitError

MEANS = "millrace.means"
"""In a marked schema: the kind of its logical type, where it has one that numbers depend on."""

_MARK = "millrace"
_MOST_DIGITS = 1000
_TO_MS = {
    "timestamp-micros": 1_000,
    "local-timestamp-micros": 1_000,
    "timestamp-nanos": 1_000_000,
    "local-timestamp-nanos": 1_000_000,
    "time-micros": 1_000,
}
_KINDS = {
    f"{local}timestamp-{unit}": "a time" for local in ("", "local-") for unit in ("millis", "micros", "nanos")
}
_KINDS |= {
    "time-millis": "a time of day",
    "time-micros": "a time of day",
    "date": "a date",
    "decimal": "a decimal",
}


def _meant(value: Any, writer: Any, reader: Any) -> Any:
    return writer[CONVERT](value)


LOGICAL_READERS.update({f"{kind}-{_MARK}": _meant for kind in ("int", "long", "bytes", "fixed")})


def marked(part: Any) -> Any:
    """A schema as it was written, with what converts its values in the place of logical types.

    Raises `ValueError` for a decimal whose power of ten would take for ever.
    """
    return _rewritten(part, _marks)


def unmarked(part: Any) -> Any:
    """The same for those who want where values end, and not the values."""
    return _rewritten(part, lambda part: {})


def _rewritten(part: Any, marks: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:
    """A schema with what `marks` gives for each of its parts in the place of logical types."""
    if isinstance(part, list):
        return [_rewritten(p, marks) for p in part]
    if not isinstance(part, dict):
        return part
    kept = {
        k: v if k == "default" else _rewritten(v, marks)
        for k, v in part.items()
        if k not in ("logicalType", CONVERT, MEANS)
    }
    return kept | marks(part)


def _marks(part: Mapping[str, Any]) -> dict[str, Any]:
    logical = part.get("logicalType")
    if not isinstance(logical, str) or logical not in _KINDS:
        return {}
    convert = converter(part)
    told = {MEANS: _KINDS[logical]}
    return told if convert is None else told | {"logicalType": _MARK, CONVERT: convert}


def converter(part: Mapping[str, Any]) -> Convert | None:
    """What converts values of one logical type, None where they stay as they are."""
    kind, logical = part.get("type"), part.get("logicalType")  # also of what a producer adds to a schema
    if kind in ("long", "int") and logical in _TO_MS:
        return _milliseconds(_TO_MS[logical])
    if kind in ("bytes", "fixed") and logical == "decimal":
        return _decimal(_power(part, "scale"), _power(part, "precision"))
    return None


def _power(part: Mapping[str, Any], name: str) -> int:
    found = int(part.get(name, 0))
    if not 0 <= found <= _MOST_DIGITS:
        raise ValueError(f"a decimal has the {name} {part[name]!r:.20}; it is from 0 to {_MOST_DIGITS}")
    return found


# Each is made once, so that equal schemas are equal to fastavro, which then resolves nothing.
@lru_cache
def _milliseconds(unit: int) -> Convert:
    return lambda value: value // unit


@lru_cache
def _decimal(scale: int, precision: int) -> Convert:
    """`precision`: the most digits, 0 for any number."""
    power, most = 10**scale, 10**precision
    beyond = power.bit_length() + 1024  # bits from which on there is no double for it

    def decimal(value: bytes) -> float:
        digits = int.from_bytes(value, "big", signed=True)
        if precision and not -most < digits < most:
            raise MisfitError(f"a decimal of more than the {precision} digits that its schema has")
        if digits.bit_length() > beyond:  # division of longer ones takes long
            return float("inf") if digits > 0 else float("-inf")
        if digits % power == 0 and abs(whole := digits // power) < 2**63:
            return whole
        try:
            return digits / power  # the double next to it
        except OverflowError:
            return float("inf") if digits > 0 else float("-inf")

    return decimal
