"""Avro's logical types as the numbers of all other encodings: times in milliseconds, decimals as numbers.

The values of the wire are converted after fastavro has read them. It can do so itself, into objects of
Python's datetime and decimal, which take longer and know fewer years than 64 bits do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from schemas.codecs.avro_walk import MisfitError

Convert = Callable[[Any], Any]
Named = dict[str, tuple["Convert | None", "type | None"]]
"""By name of a type: what converts its values, and the Python type that tells them in a union."""

_MOST_DIGITS = 1000
_TO_MS = {
    "timestamp-micros": 1_000,
    "local-timestamp-micros": 1_000,
    "timestamp-nanos": 1_000_000,
    "local-timestamp-nanos": 1_000_000,
    "time-micros": 1_000,
}


def converter(schema: Any) -> Convert | None:
    """What converts values of a schema in place and gives them back, None where it holds no logical types.

    `schema` is as it was written, and not recursive.
    """
    return _of(schema, {})


def scale_of(part: Mapping[str, Any]) -> int:
    """Of a decimal's schema. Raises `ValueError` for one whose power of ten would take for ever."""
    return _power(part, "scale", 0)


def _power(part: Mapping[str, Any], name: str, absent: int) -> int:
    found = int(part.get(name, absent))
    if not 0 <= found <= _MOST_DIGITS:
        raise ValueError(f"a decimal has the {name} {part[name]!r:.20}; it is from 0 to {_MOST_DIGITS}")
    return found


def _of(part: Any, named: Named) -> Convert | None:
    if isinstance(part, str):
        return named[part][0] if part in named else None
    if isinstance(part, list):
        return _union([_of(branch, named) for branch in part], [_python(branch, named) for branch in part])
    kind = part["type"]
    if isinstance(kind, dict | list):
        return _of(kind, named)
    found: Convert | None = None
    if kind in ("record", "error"):
        fields = [(f["name"], _of(f["type"], named)) for f in part["fields"]]
        changed = {name: convert for name, convert in fields if convert is not None}
        found = _record(changed) if changed else None
    elif kind == "array" and (each := _of(part["items"], named)) is not None:
        found = _items(each)
    elif kind == "map" and (each := _of(part["values"], named)) is not None:
        found = _values(each)
    elif kind in ("long", "int") and part.get("logicalType") in _TO_MS:
        found = _milliseconds(_TO_MS[part["logicalType"]])
    elif kind in ("bytes", "fixed") and part.get("logicalType") == "decimal":
        found = _decimal(scale_of(part), _power(part, "precision", 0))
    elif kind in named:
        found = named[kind][0]
    if "name" in part:
        space = part.get("namespace")
        for name in {part["name"], part["name"].rpartition(".")[2], f"{space}.{part['name']}"}:
            named[name] = (found, _python(part, named))
    return found


def _python(branch: Any, named: Named) -> type | None:
    """The type that tells values of a branch from those of the others, None where none does."""
    kind = branch if isinstance(branch, str) else branch.get("type")
    if isinstance(kind, str) and kind in named:
        return named[kind][1]
    types: Mapping[Any, type] = {
        "long": int, "int": int, "bytes": bytes, "fixed": bytes, "record": dict, "map": dict, "array": list
    }  # fmt: skip
    return types.get(kind) if isinstance(kind, str) else None


def _union(branches: list[Convert | None], kinds: list[type | None]) -> Convert | None:
    """By the type of the value. Of two branches of one type the first is taken to be meant."""
    by_type: dict[type, Convert | None] = {}
    for convert, kind in zip(branches, kinds, strict=True):
        if kind is not None:
            by_type.setdefault(kind, convert)
    if not any(by_type.values()):
        return None

    def union(value: Any) -> Any:
        convert = by_type.get(type(value))
        return value if convert is None else convert(value)

    return union


def _record(changed: Mapping[str, Convert]) -> Convert:
    def record(value: Any) -> Any:
        name, value = "", dict(value)  # a reader's default is one value for all records
        try:
            for name, convert in changed.items():
                if (found := value[name]) is not None:
                    value[name] = convert(found)
        except MisfitError as e:
            raise e.within(name) from None
        return value

    return record


def _items(each: Convert) -> Convert:
    def items(value: Any) -> Any:
        made: list[Any] = []
        try:
            for v in value:
                made.append(None if v is None else each(v))
        except MisfitError as e:
            raise e.within(len(made)) from None
        return made

    return items


def _values(each: Convert) -> Convert:
    def values(value: Any) -> Any:
        key, made = "", dict[str, Any]()
        try:
            for key, v in value.items():
                made[key] = None if v is None else each(v)
        except MisfitError as e:
            raise e.within(key[:40]) from None
        return made

    return values


def _milliseconds(unit: int) -> Convert:
    return lambda value: value // unit


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
            return float(Fraction(digits, power))  # the double next to it
        except OverflowError:
            return float("inf") if digits > 0 else float("-inf")

    return decimal
