"""JSON records (RFC 8259, UTF-8, nested at most 1024 deep). A repeated key counts with its last value."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import orjson

from schemas.codecs.base import Code, UnfitError, check_size, parse_each
from schemas.codecs.matrix import Access, assemble, check, finish
from schemas.tensors import BadRecord, Decoded, Input

try:
    from schemas.codecs.typed import fast_reader
except ModuleNotFoundError:  # msgspec is not installed: orjson alone, slower, gives the same results
    fast_reader = None  # type: ignore[assignment]

MAX_DEPTH = 1024  # orjson's
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_CHUNK = 32  # in a block with a bad record, so many are tried at once before each is tried alone
_PLANS = 64  # remembered plans; a data type has one a model version


def _look(record: dict, field: str) -> Any:
    return record[field]


OBJECTS = Access(getter=lambda fields: itemgetter(*fields), look=_look)


class JsonCodec:
    """Decodes JSON objects of at most `max_bytes` each."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self._max_bytes = max_bytes
        self._plans: dict[tuple[Input, ...], Any] = {}

    def decode(self, payloads: Sequence[bytes], inputs: Sequence[Input]) -> Decoded:
        reader = self._plan(tuple(inputs))
        if reader is None:
            return self._by_record(payloads, inputs)
        try:
            if max(map(len, payloads), default=0) <= self._max_bytes:
                return Decoded(reader.columns(reader.block(payloads), len(payloads)), len(payloads))
        except Exception:
            pass  # one of them is bad: find out which
        return self._sift(payloads, inputs, reader)

    def to_json(self, payload: bytes) -> bytes | None:
        try:
            self._parse(payload)
        except UnfitError:
            return None
        return payload

    def _plan(self, inputs: tuple[Input, ...]) -> Any:
        plan = self._plans.get(inputs, self)
        if plan is self:  # not seen yet; None is a plan
            try:
                plan = fast_reader(inputs) if fast_reader is not None else None
            except (ValueError, TypeError):
                plan = None
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            self._plans[inputs] = plan
        return plan

    def _sift(self, payloads: Sequence[bytes], inputs: Sequence[Input], reader: Any) -> Decoded:
        kept: list[int] = []
        packed = bytearray()
        bad: list[BadRecord] = []
        for start in range(0, len(payloads), _CHUNK):
            chunk = payloads[start : start + _CHUNK]
            try:
                if max(map(len, chunk)) > self._max_bytes:
                    raise ValueError
                packed += reader.block(chunk)
                kept.extend(range(start, start + len(chunk)))
                continue
            except Exception:
                pass
            for row, payload in enumerate(chunk, start):
                try:
                    packed += self._one(payload, inputs, reader)
                    kept.append(row)
                except UnfitError as e:
                    bad.append(e.at(row))
        return finish(reader.columns(packed, len(kept)), kept, bad)

    def _one(self, payload: bytes, inputs: Sequence[Input], reader: Any) -> bytes:
        check_size(payload, self._max_bytes)
        try:
            return reader.block((payload,))
        except Exception:
            return reader.pack(chain.from_iterable(check(self._parse(payload), inputs, OBJECTS)))

    def _by_record(self, payloads: Sequence[bytes], inputs: Sequence[Input]) -> Decoded:
        try:
            if max(map(len, payloads), default=0) <= self._max_bytes:
                whole = list(map(orjson.loads, payloads))
                if {dict}.issuperset(map(type, whole)):
                    return assemble(whole, inputs, OBJECTS, range(len(whole)), [])
        except (ValueError, TypeError):
            pass
        records, kept, bad = parse_each(payloads, self._parse)
        return assemble(records, inputs, OBJECTS, kept, bad)

    def _parse(self, payload: bytes) -> dict:
        check_size(payload, self._max_bytes)
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError as e:
            value = _second_opinion(payload, str(e))
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
            parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits),
        )
        json.dumps(value, ensure_ascii=False).encode()  # refuses lone surrogates, as orjson does
    except (ValueError, RecursionError):
        raise UnfitError(Code.UNPARSABLE, f"not JSON: {message}") from None
    if literals:
        raise UnfitError(Code.NOT_FINITE, f"the record holds {literals[0]}, which is not JSON")
    return value


def _too_deep(payload: bytes) -> bool:
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return False
    text = np.frombuffer(_STRING.sub(b"", payload), np.uint8) | 32  # "[" and "{" differ in this bit only
    depth = np.cumsum((text == ord("{")).astype(np.int32) - (text == ord("}")))
    return bool(depth.size and depth.max() > MAX_DEPTH)
