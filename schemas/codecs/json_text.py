"""What a JSON text means, for all who read records: serving, features, rules, and readers of results.

RFC 8259 in UTF-8, nested at most 1024 deep. Of a key that stands twice the last value counts. An integer that
fits into 64 bits, with a sign or without, is one; every other number is the double next to it, infinite where
it is beyond all of them. NaN and Infinity are no JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import orjson

from schemas.codecs.base import Code, UnfitError

MAX_DEPTH = 1024  # orjson's
LEAST, MOST = -(2**63), 2**64 - 1
"""The integers that are read as integers."""

_OTHERS = (
    (b"\xef\xbb\xbf", "; it begins with a byte order mark, which JSON has none of"),
    ((b"\xff\xfe", b"\xfe\xff"), "; it seems to be UTF-16: JSON is UTF-8"),
    (b"\x1f\x8b", "; it is compressed by gzip: let its producer compress by Kafka's own compression.type"),
    (b"\0\0", "; it seems to begin with the id of a schema: give codec.schema_registry.url"),
)
"""What is often sent in the place of JSON, by its first bytes, and what to do."""
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""Also one that does not end: it would be looked for anew at each quote in it."""


def parse_json(text: bytes) -> Any:
    """The value of a JSON text. Raises `UnfitError`, which says why it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as e:
        return _second_opinion(text, str(e))


def parse_object(text: bytes) -> dict[str, Any]:
    """As `parse_json`, of an object. Raises `UnfitError` also for any other value."""
    value = parse_json(text)
    if not isinstance(value, dict):
        kind = "null" if value is None else type(value).__name__
        raise UnfitError(Code.NOT_AN_OBJECT, f"the record is no JSON object but a {kind}")
    return value


def _second_opinion(payload: bytes, message: str) -> Any:
    """What orjson refuses is bad, but for numbers beyond a double, which RFC 8259 allows: infinite."""
    if _too_deep(payload):
        raise UnfitError(Code.TOO_DEEP, f"the record is nested more than {MAX_DEPTH} deep")
    literals: list[str] = []

    def literal(name: str) -> float:
        literals.append(name)
        return float(name.replace("Infinity", "inf"))

    try:
        value = json.loads(
            payload.decode(),
            parse_constant=literal,
            parse_int=_integer,
        )
        json.dumps(value, ensure_ascii=False).encode()  # refuses lone surrogates, as orjson does
    except (ValueError, RecursionError):
        begins = next((said for bytes_, said in _OTHERS if payload.startswith(bytes_)), "")
        raise UnfitError(Code.UNPARSABLE, f"not JSON: {message}{begins}") from None
    if literals:
        raise UnfitError(Code.NOT_FINITE, f"the record holds {literals[0]}, which is not JSON")
    return value


def _integer(digits: str) -> float:
    if len(digits) < 21 and LEAST <= (number := int(digits)) <= MOST:
        return number
    return float(digits)


def _too_deep(payload: bytes) -> bool:
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return False
    text = np.frombuffer(_STRING.sub(b"", payload), np.uint8) | 32  # "[" and "{" differ in this bit only
    depth = np.cumsum((text == ord("{")).astype(np.int32) - (text == ord("}")))
    return bool(depth.size and depth.max() > MAX_DEPTH)
