"""What fastavro takes of Avro's bytes and should not: indexes below 0, numbers beyond 64 bits, cut records.

It reads some malformed records as other values than their writer's. Here it is held to what Avro allows, in
ways that cost a good record next to nothing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import fastavro

from schemas.codecs.base import Code, UnfitError

_NAMED = "__named_schemas"  # of a parsed schema: its named types by their full names
_LONG = 9  # bytes of a number that say that it goes on; more, and one of few, are beyond 64 bits
_HIGH = bytes(128) + b"\x80" * 128  # a translation, in which to find many of them takes no time
_RUN = b"\x80" * _LONG
_RUNS = re.compile(rb"[\x80-\xff]{%d,}" % _LONG)
_BELOW = "the number of a branch or symbol is below zero"
_BYTES = {"null": 0, "boolean": 1, "float": 4, "double": 8}


class _FromZero(list):
    """Branches of a union or symbols of an enum, which Python would also count from the end.

    fastavro asks a list for its length to do so, and for nothing else.
    """

    def __len__(self) -> int:
        raise IndexError(_BELOW)

    def __bool__(self) -> bool:
        return True


def counted_from_zero(part: Any) -> Any:
    """A parsed schema whose unions and enums refuse indexes below zero. `part` is not recursive."""
    if isinstance(part, list):
        return _FromZero(map(counted_from_zero, part))
    if not isinstance(part, dict):
        return part
    made = dict(part)
    for key, value in part.items():
        if key == "symbols":
            made[key] = _FromZero(value)
        elif key == "fields":
            made[key] = [counted_from_zero(field) for field in value]
        elif key == _NAMED:
            made[key] = {name: counted_from_zero(named) for name, named in value.items()}
        elif key in ("type", "items", "values"):
            made[key] = counted_from_zero(value)
    return made


def read_whole(body: bytes, writer: Any, reader: Any = None) -> Any:
    """The value that all of `body` is, of the parsed schema `writer`, as `reader` has it.

    Raises `UnfitError`.
    """
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
    if _RUN in body.translate(_HIGH) and any(map(_is_no_text, _RUNS.findall(body))):
        _Numbers(body, writer[_NAMED]).check(writer)
    return value


def _is_no_text(run: bytes) -> bool:
    """Whether bytes may hold a long number, since they are more than letters of other alphabets."""
    try:
        run.decode()
    except UnicodeDecodeError as e:
        return len(run) - e.start >= _LONG
    return False


class _Numbers:
    """Goes through a record that could be read, and refuses numbers of more than 64 bits in it."""

    def __init__(self, body: bytes, named: Mapping[str, Any]) -> None:
        self._body, self._named, self._at = body, named, 0

    def check(self, part: Any) -> None:
        """Raises `UnfitError`."""
        if isinstance(part, list):
            self.check(part[self._number()])
            return
        kind = part if isinstance(part, str) else part["type"]
        if kind in self._named:
            self.check(self._named[kind])
        elif kind in ("record", "error"):
            for field in part["fields"]:
                self.check(field["type"])
        elif kind == "array":
            self._blocks(part["items"])
        elif kind == "map":
            self._blocks("string", part["values"])
        elif kind in ("int", "long", "enum"):
            self._number()
        elif kind in ("string", "bytes"):
            size = self._number()
            self._at += size
        else:
            self._at += part["size"] if kind == "fixed" else _BYTES[kind]

    def _blocks(self, *parts: Any) -> None:
        while count := self._number():
            if count < 0:
                self._number()  # the bytes of the block, for those who skip it
            for _ in range(abs(count)):
                for part in parts:
                    self.check(part)

    def _number(self) -> int:
        value = shift = 0
        for byte in self._body[self._at : self._at + 10]:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        else:
            shift = 77
        if shift > 70 or value >= 1 << 64:
            raise UnfitError(Code.UNPARSABLE, "not Avro of its schema: a number in it has more than 64 bits")
        self._at += shift // 7
        return (value >> 1) ^ -(value & 1)
