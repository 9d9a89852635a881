"""What fastavro takes of Avro's bytes and should not, and how it is held to what Avro allows.

It reads some malformed records as other values than their writer's: indexes below 0, numbers beyond their
bits, booleans of any byte, cut records. A record that is read as it was written costs next to nothing more:
fastavro is given what refuses some of it, and where a value or the bytes are suspect, a walk over the bytes
decides. One that is read as another schema has it is always walked through first: of what is skipped
fastavro looks at nothing.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import fastavro

from schemas.codecs.avro_types import with_types
from schemas.codecs.avro_walk import BELOW, CONVERT, INT, NAMED, MisfitError, walker
from schemas.codecs.base import Code, UnfitError

Suspect = Callable[[Any], bool]
"""Whether a value that was read may hold an int of more than 32 bits."""

_LONG = 9  # bytes of a number that say that it goes on; more, and one of few, are beyond 64 bits
_HIGH = bytes(128) + b"\x80" * 128  # a translation, in which to find many of them takes no time
_RUN = b"\x80" * _LONG
_RUNS = re.compile(rb"[\x80-\xff]{%d,}" % _LONG)


class _FromZero(list):
    """Branches of a union or symbols of an enum, which Python would also count from the end.

    fastavro asks a list for its length to do so, and for nothing else.
    """

    def __len__(self) -> int:
        raise IndexError(BELOW)

    def __bool__(self) -> bool:
        return True


_BOOLEAN = {"type": "enum", "name": "a boolean", "symbols": {0: False, -1: True}}
"""To fastavro, which takes any byte for a boolean: what is neither 0 nor 1 is the number of no symbol."""


def counted_from_zero(part: Any, *, booleans: bool = False) -> Any:
    """A parsed schema whose unions and enums refuse indexes below zero. `part` is not recursive.

    `booleans`: these refuse other bytes than 0 and 1, except for such as `_suspect_boolean` tells. For
    reading only: where a boolean is skipped, other bytes would be taken for more than one.
    """

    def counted(part: Any) -> Any:
        if isinstance(part, list):
            return _FromZero(map(counted, part))
        if booleans and (part == "boolean" or (isinstance(part, dict) and part.get("type") == "boolean")):
            return _BOOLEAN
        if not isinstance(part, dict):
            return part
        made = with_types(part, counted)
        if "symbols" in made:
            made["symbols"] = _FromZero(made["symbols"])
        return made

    return counted(part)


class Wire:
    """How bytes of one schema are read. `parsed`: of fastavro, without logical types, and not recursive."""

    def __init__(self, parsed: Any) -> None:
        self.parsed = counted_from_zero(parsed)
        self._exact = counted_from_zero(parsed, booleans=True)
        named = parsed.get(NAMED, {})
        self._booleans = self._exact != self.parsed
        self._suspect = _suspects(parsed, named, {})
        self._walk = walker(parsed, named, {})

    def read(self, body: bytes) -> Any:
        """The value that all of `body` is. Raises `UnfitError`."""
        try:
            value = _read(body, self._exact, None)
        except UnfitError:
            self.check(body)  # which knows the field
            raise
        if (
            _suspect_number(body)
            or (self._suspect is not None and self._suspect(value))
            or (self._booleans and _suspect_boolean(body))
        ):
            self.check(body)
        return value

    def read_as(self, body: bytes, reader: Wire) -> Any:
        """The same as the schema of `reader` has it. Raises `UnfitError`, also for what that leaves out."""
        self.check(body)
        return _read(body, self.parsed, reader.parsed)

    def check(self, body: bytes) -> None:
        """Raise `UnfitError` unless all of `body` is a value."""
        try:
            left = len(body) - self._walk(body, 0)
        except MisfitError as e:
            raise e.unfit() from None
        except IndexError:
            left = -1
        if left:
            said = "it is cut short" if left < 0 else f"{left} bytes are left over"
            raise UnfitError(Code.UNPARSABLE, f"not Avro of its schema: {said}")


def _read(body: bytes, writer: Any, reader: Any) -> Any:
    # what is skipped is not missed at the end: a byte more shows that more than the body was taken
    stream = io.BytesIO(body + b"\0")
    try:
        value: Any = fastavro.schemaless_reader(stream, writer, reader)
    except Exception as e:  # damaged bytes surface as many kinds, EOFError and IndexError among them
        raise UnfitError(Code.UNPARSABLE, f"not Avro of its schema: {type(e).__name__} {e!s:.120}") from None
    if (left := len(body) - stream.tell()) < 0:
        raise UnfitError(Code.UNPARSABLE, "not Avro of its schema: it is cut short")
    if left:
        raise UnfitError(Code.UNPARSABLE, f"not Avro of its schema: {left} bytes are left over")
    return value


def _suspect_boolean(body: bytes) -> bool:
    """Whether a boolean in bytes that could be read may be a number of more bytes than it needs, 0 or -1."""
    return b"\x80\0" in body or b"\x81\0" in body


def _suspect_number(body: bytes) -> bool:
    """Whether there may be a number of more than 64 bits in bytes that could be read."""
    return _RUN in body.translate(_HIGH) and any(map(_is_no_text, _RUNS.findall(body)))


def _is_no_text(run: bytes) -> bool:
    """Whether bytes may hold a long number, since they are more than letters of other alphabets."""
    try:
        run.decode()
    except UnicodeDecodeError as e:
        return len(run) - e.start >= _LONG
    return False


def _suspects(part: Any, named: Mapping[str, Any], known: dict[str, Suspect | None]) -> Suspect | None:
    """What tells whether a value of a parsed schema may hold an int beyond 32 bits, None where none can.

    In a union any number beyond them is suspect, since a value does not say of which branch it is. `known`:
    what was made for named types, which may be used many times.
    """
    if isinstance(part, list):
        found = [s for branch in part if (s := _suspects(branch, named, known)) is not None]
        return _any_of(found) if found else None
    kind = part if isinstance(part, str) else part["type"]
    if kind in named:
        return _suspects(named[kind], named, known)
    if kind in ("record", "error"):
        if part["name"] not in known:
            known[part["name"]] = _suspect_record(part, named, known)
        return known[part["name"]]
    if kind in ("array", "map"):
        return _suspect_within(_suspects(part["items" if kind == "array" else "values"], named, known))
    if kind == "int" and isinstance(part, dict) and CONVERT in part:
        return lambda value: True  # of what it was made from it does not say
    return _suspect_int if kind == "int" else None


def _suspect_within(each: Suspect | None) -> Suspect | None:
    """Of lists and maps; a value may also be of another branch of a union."""
    if each is None:
        return None

    def suspect(value: Any) -> bool:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return any(map(each, inner))

    return suspect


def _suspect_int(value: Any) -> bool:
    return isinstance(value, int) and not -INT <= value < INT


def _any_of(found: Sequence[Suspect]) -> Suspect:
    return found[0] if len(found) == 1 else lambda value: any(s(value) for s in found)


def _suspect_record(part: Any, named: Mapping[str, Any], known: dict[str, Suspect | None]) -> Suspect | None:
    fields = [(f["name"], f["type"], _suspects(f["type"], named, known)) for f in part["fields"]]
    ints = [name for name, kind, s in fields if s is _suspect_int and not isinstance(kind, list)]
    others = [(name, s) for name, _, s in fields if s is not None and name not in ints]
    if not ints:
        return (lambda value: _in_any(value, others)) if others else None
    get: Callable[[Any], Any] = itemgetter(*ints) if len(ints) > 1 else lambda value: (value[ints[0]],)
    pack = struct.Struct(f"={len(ints)}i").pack  # refuses what has more bits, and looks at all in one call

    def suspect(value: Any) -> bool:
        try:
            pack(*get(value))
        except (struct.error, KeyError, TypeError):  # or the value is of another branch of a union
            if _in_any(value, [(name, _suspect_int) for name in ints]):
                return True
        return bool(others) and _in_any(value, others)

    return suspect


def _in_any(value: Any, fields: Sequence[tuple[str, Suspect]]) -> bool:
    if not isinstance(value, dict):
        return False
    return any((found := value.get(name)) is not None and suspect(found) for name, suspect in fields)
