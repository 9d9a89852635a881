"""Change events of Debezium as JSON: the row after the change is the record.

With the envelope (`before`, `after`, `op`) alone, or as `payload` beside its `schema`. A deletion (`op` is
`d`, or there is no row after the change), a truncation and a tombstone (no payload) have no row to score:
they are dead letters of the code `deleted`, so that results and dead letters stay all records that came in.
Snapshot reads, inserts and updates (`r`, `c`, `u`) are records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from schemas.codecs.base import Code, UnfitError, check_size, parse_each
from schemas.codecs.declared import assemble_declared
from schemas.codecs.field_reading import Readings
from schemas.codecs.json_codec import OBJECTS
from schemas.codecs.json_text import parse_object
from schemas.codecs.matrix import assemble, kind_of
from schemas.tensors import Decoded, Input


class DebeziumCodec:
    """Decodes change events of at most `max_bytes` each."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self._max_bytes = max_bytes

    def decode(self, payloads: Sequence[bytes], inputs: Sequence[Input], readings: Readings = ()) -> Decoded:
        records, kept, bad = parse_each(payloads, self._row)
        if readings:
            return assemble_declared(records, inputs, readings, access=OBJECTS, kept=kept, bad=bad)
        return assemble(records, inputs, OBJECTS, kept, bad)

    def to_json(self, payload: bytes) -> bytes | None:
        try:
            return orjson.dumps(self._row(payload))
        except (UnfitError, TypeError):
            return None

    def _row(self, payload: bytes) -> dict[str, Any]:
        if not payload:
            raise UnfitError(Code.DELETED, "a tombstone: the row with this key was deleted")
        check_size(payload, self._max_bytes)
        event = parse_object(payload)
        if "op" not in event and isinstance(event.get("payload"), dict):
            event = event["payload"]
        elif "op" not in event and "schema" in event and event.get("payload", "") is None:
            raise UnfitError(Code.DELETED, "a tombstone: the row with this key was deleted")
        if not isinstance(operation := event.get("op"), str):
            raise UnfitError(Code.WRONG_TYPE, "no change event: it has no 'op' that says what was changed")
        row = event.get("after")
        if operation in ("d", "t") or row is None:
            raise UnfitError(Code.DELETED, f"there is no row after this change (op {operation!r:.20})")
        if not isinstance(row, dict):
            raise UnfitError(Code.NOT_AN_OBJECT, f"'after' holds {kind_of(row)} where an object belongs")
        return row
