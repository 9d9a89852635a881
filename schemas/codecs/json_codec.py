"""JSON records (RFC 8259, UTF-8, nested at most 1024 deep). A repeated key counts with its last value."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import orjson

from schemas.codecs.base import UnfitError, check_size, parse_each
from schemas.codecs.declared import assemble_declared
from schemas.codecs.field_reading import Readings
from schemas.codecs.json_text import parse_object
from schemas.codecs.matrix import assemble, check, finish
from schemas.codecs.parsed import OBJECTS
from schemas.tensors import BadRecord, Decoded, Input

try:
    from schemas.codecs.typed import fast_reader
    from schemas.codecs.typed_paths import PathReader
except ModuleNotFoundError:  # msgspec is not installed: orjson alone, slower, gives the same results
    fast_reader = PathReader = None  # type: ignore[assignment,misc]

_CHUNK = 32  # in a micro-batch with a bad record, so many are tried at once before each is tried alone
_PLANS = 64  # remembered plans; a data type has one a model version


class JsonCodec:
    """Decodes JSON objects of at most `max_bytes` each."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self._max_bytes = max_bytes
        self._plans: dict[Any, Any] = {}

    def decode(self, payloads: Sequence[bytes], inputs: Sequence[Input], readings: Readings = ()) -> Decoded:
        if readings:
            return self._declared(payloads, tuple(inputs), readings)
        reader = self._plan(tuple(inputs))
        if reader is None:
            return self._by_record(payloads, inputs)
        try:
            if max(map(len, payloads), default=0) <= self._max_bytes:
                return Decoded(reader.columns(reader.read(payloads), len(payloads)), len(payloads))
        except Exception:  # noqa: S110 - one of them is bad: find out which
            pass
        return self._sift(payloads, inputs, reader)

    def to_json(self, payload: bytes) -> bytes | None:
        try:
            self._parse(payload)
        except UnfitError:
            return None
        return payload

    def _plan(self, inputs: tuple[Input, ...]) -> Any:
        return self._remembered((inputs,), fast_reader)

    def _declared(self, payloads: Sequence[bytes], inputs: tuple[Input, ...], readings: Readings) -> Decoded:
        reader = self._remembered((inputs, readings), PathReader)
        if reader is not None and max(map(len, payloads), default=0) <= self._max_bytes:
            try:
                return Decoded(reader.columns(payloads), len(payloads))
            except Exception:  # noqa: S110 - one of them is bad, or null where that is rare
                pass
        return self._by_record(payloads, inputs, readings)

    def _remembered(self, key: Any, make: Any) -> Any:
        """The fast reader for `key`, which are the arguments of `make`; None where there is none."""
        plan = self._plans.get(key, self)
        if plan is self:  # not seen yet; None is a plan
            try:
                plan = make(*key) if make is not None else None
            except (ValueError, TypeError):
                plan = None
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            self._plans[key] = plan
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
                packed += reader.read(chunk)
                kept.extend(range(start, start + len(chunk)))
                continue
            except Exception:  # noqa: S110 - which record it is, is found below
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
            return reader.read((payload,))
        except Exception:
            return reader.pack(chain.from_iterable(check(self._parse(payload), inputs, OBJECTS)))

    def _by_record(
        self, payloads: Sequence[bytes], inputs: Sequence[Input], readings: Readings = ()
    ) -> Decoded:
        records, kept, bad = self._records(payloads)
        if readings:
            return assemble_declared(records, inputs, readings, access=OBJECTS, kept=kept, bad=bad)
        return assemble(records, inputs, OBJECTS, kept, bad)

    def _records(self, payloads: Sequence[bytes]) -> tuple[list[dict], Sequence[int], list[BadRecord]]:
        try:
            if max(map(len, payloads), default=0) <= self._max_bytes:
                whole = list(map(orjson.loads, payloads))
                if {dict}.issuperset(map(type, whole)):
                    return whole, range(len(whole)), []
        except (ValueError, TypeError):
            pass
        return parse_each(payloads, self._parse)

    def _parse(self, payload: bytes) -> dict:
        check_size(payload, self._max_bytes)
        return parse_object(payload)
