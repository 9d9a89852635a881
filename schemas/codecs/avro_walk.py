"""A walk over the bytes of an Avro record, which refuses what no writer of its schema makes, and says where.

It makes no values, and takes about as long as fastavro takes to make them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.codecs.base import Code, UnfitError
from schemas.codecs.field_reading import path_text

Walk = Callable[[bytes, int], int]
"""Where the value that begins at a place of the bytes ends. Raises `MisfitError`; IndexError at the end."""

Convert = Callable[[Any], Any]
"""What makes of a value of the wire what it means. Raises `MisfitError`."""

NAMED = "__named_schemas"  # of a parsed schema: its named types by their full names
CONVERT = "millrace.convert"  # of a part of a marked schema: what converts its values
BELOW = "the number of a branch or symbol is below zero"
INT = 1 << 31
_SIZES = {"null": 0, "float": 4, "double": 8}


class MisfitError(Exception):
    """Bytes that no writer of the schema makes. `path`: of the field, filled from within."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str | int] = []

    def within(self, step: str | int) -> MisfitError:
        self.path.insert(0, step)
        return self

    def unfit(self) -> UnfitError:
        where = f"field {path_text(tuple(self.path))!r} holds " if self.path else ""
        return UnfitError(Code.UNPARSABLE, f"not Avro of its schema: {where}{self.reason}")


def walker(part: Any, named: Mapping[str, Any], known: dict[str, Walk]) -> Walk:
    """What goes through the bytes of a value of a parsed schema, which is not recursive.

    `named`: its named types; `known`: what was made for them, since each may be used many times.
    """
    if isinstance(part, list):
        return _union([walker(branch, named, known) for branch in part])
    kind = part if isinstance(part, str) else part["type"]
    if kind in named:
        return walker(named[kind], named, known)
    if kind in ("record", "error"):
        if part["name"] not in known:
            fields = [(field["name"], walker(field["type"], named, known)) for field in part["fields"]]
            known[part["name"]] = _record(fields)
        return known[part["name"]]
    if kind in ("array", "map"):
        inner = part["items" if kind == "array" else "values"]
        return _blocks(walker(inner, named, known), keys=kind == "map")
    if kind == "enum":
        return _symbol(len(part["symbols"]))
    plain = _WALKS.get(kind) or _fixed(part["size"] if kind == "fixed" else _SIZES[kind])
    convert = part.get(CONVERT) if isinstance(part, dict) and kind in ("bytes", "fixed") else None
    return plain if convert is None else _converted(plain, convert, sized=kind == "bytes")


def _record(fields: Sequence[tuple[str, Walk]]) -> Walk:
    def record(body: bytes, at: int) -> int:
        name = ""
        try:
            for name, walk in fields:  # noqa: B007 - of the field that does not fit
                at = walk(body, at)
        except MisfitError as e:
            raise e.within(name) from None
        return at

    return record


def _union(branches: list[Walk]) -> Walk:
    count = len(branches)

    def union(body: bytes, at: int) -> int:
        index, at = _number(body, at)
        if not 0 <= index < count:
            raise MisfitError(BELOW if index < 0 else f"the branch {index} of a union of {count}")
        return branches[index](body, at)

    return union


def _symbol(count: int) -> Walk:
    def symbol(body: bytes, at: int) -> int:
        index, at = _number(body, at)
        if not 0 <= index < count:
            raise MisfitError(BELOW if index < 0 else f"the symbol {index} of an enum of {count}")
        return at

    return symbol


def _converted(walk: Walk, convert: Convert, *, sized: bool) -> Walk:
    """Of bytes that mean something: what they cannot mean is refused."""

    def converted(body: bytes, at: int) -> int:
        end = walk(body, at)
        if end > len(body):
            raise IndexError
        convert(body[_number(body, at)[1] if sized else at : end])
        return end

    return converted


def _fixed(size: int) -> Walk:
    return lambda body, at: at + size


def _long(body: bytes, at: int) -> int:
    return _number(body, at)[1]


def _int(body: bytes, at: int) -> int:
    value, at = _number(body, at)
    if not -INT <= value < INT:
        raise MisfitError(f"{value}, which is no int of 32 bits")
    return at


def _boolean(body: bytes, at: int) -> int:
    if body[at] > 1:
        raise MisfitError(f"a boolean of the byte {body[at]}, neither 0 nor 1")
    return at + 1


def _sized(body: bytes, at: int) -> int:
    size, at = _number(body, at)
    if size < 0:
        raise MisfitError(f"{size} bytes")
    return at + size


def _blocks(each: Walk, *, keys: bool) -> Walk:
    def blocks(body: bytes, at: int) -> int:
        total = 0
        while True:
            count, at = _number(body, at)
            if not count:
                return at
            if count < 0:
                at = _number(body, at)[1]  # the bytes of the block, for those who skip it
            for _ in range(abs(count)):
                start = at
                if keys:
                    at = _sized(body, at)
                try:
                    at = each(body, at)
                except MisfitError as e:
                    raise e.within(_key(body, start) if keys else total) from None
                if at > len(body):  # a few bytes may say that any number of values follow
                    raise IndexError
                total += 1

    return blocks


def _key(body: bytes, at: int) -> str:
    size, at = _number(body, at)
    return body[at : at + min(size, 40)].decode(errors="replace")


def _number(body: bytes, at: int) -> tuple[int, int]:
    value = body[at]
    at += 1
    if value >= 0x80:
        value &= 0x7F
        for shift in range(7, 70, 7):
            byte = body[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            value = 1 << 64
        if value >= 1 << 64:
            raise MisfitError("a number of more than 64 bits")
    return (value >> 1) ^ -(value & 1), at


_WALKS: Mapping[str, Walk] = {
    "int": _int,
    "long": _long,
    "boolean": _boolean,
    "string": _sized,
    "bytes": _sized,
}
