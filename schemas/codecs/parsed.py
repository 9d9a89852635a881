"""Codecs that parse each record into an object, and make columns of all of them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import orjson

from schemas.codecs.base import UnfitError, parse_each
from schemas.codecs.declared import assemble_declared
from schemas.codecs.field_reading import Readings
from schemas.codecs.matrix import Access, assemble
from schemas.tensors import Decoded, Input


def _look(record: dict, field: str) -> Any:
    return record[field]


OBJECTS = Access(getter=lambda fields: itemgetter(*fields), look=_look)
"""Records that are dicts."""


def object_json(record: dict) -> bytes:
    """A dict as JSON: bytes are base64. Raises `TypeError` for what JSON has no word for."""
    return orjson.dumps(record, default=_in_json, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _in_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


class ParsedCodec:
    """`parse` makes a record of a payload or raises `UnfitError`; `access` reads its fields; `dump` writes it
    as JSON or raises `TypeError`."""

    def __init__(
        self,
        parse: Callable[[bytes], Any],
        access: Access = OBJECTS,
        dump: Callable[[Any], bytes] = object_json,
    ) -> None:
        self._parse, self._access, self._dump = parse, access, dump

    def decode(self, payloads: Sequence[bytes], inputs: Sequence[Input], readings: Readings = ()) -> Decoded:
        records, kept, bad = parse_each(payloads, self._parse)
        if readings:
            return assemble_declared(records, inputs, readings, access=self._access, kept=kept, bad=bad)
        return assemble(records, inputs, self._access, kept, bad)

    def to_json(self, payload: bytes) -> bytes | None:
        try:
            return self._dump(self._parse(payload))
        except (UnfitError, TypeError):
            return None
