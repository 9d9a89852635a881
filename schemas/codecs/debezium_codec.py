"""Change events of Debezium: the row after the change is the record.

As JSON with the envelope (`before`, `after`, `op`) alone, or as `payload` beside its `schema`; behind a
schema registry in each of its formats. A deletion (`op` is `d`, or there is no row after the change), a
truncation and a tombstone (no payload) have no row to score: they are dead letters of the code `deleted`, so
that results and dead letters stay all records that came in. Snapshot reads, inserts and updates (`r`, `c`,
`u`) are records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.codecs.base import Code, UnfitError, check_size
from schemas.codecs.json_text import parse_object
from schemas.codecs.matrix import kind_of
from schemas.codecs.parsed import ParsedCodec, object_json

_WRITTEN_DEPTH = 254  # orjson's; it reads 1,024
Parse = Callable[[bytes], dict[str, Any]]


class DebeziumCodec(ParsedCodec):
    """Decodes change events. `event`: makes an event of a payload that is not empty; raises `UnfitError`."""

    def __init__(self, event: Parse) -> None:
        super().__init__(lambda payload: _row(payload, event))


def json_event(max_bytes: int = 1 << 20) -> Parse:
    """Events as JSON, of at most `max_bytes` each."""

    def event(payload: bytes) -> dict[str, Any]:
        check_size(payload, max_bytes)
        return parse_object(payload)

    return event


def _row(payload: bytes, parse: Parse) -> dict[str, Any]:
    if not payload:
        raise UnfitError(Code.DELETED, "a tombstone: the row with this key was deleted")
    event = parse(payload)
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
    if payload.count(b"[") + payload.count(b"{") > _WRITTEN_DEPTH:
        _check_written(row)
    return row


def _check_written(row: dict[str, Any]) -> None:
    """A row is written again for its result. Raises `UnfitError` where it is deeper than can be."""
    try:
        object_json(row)
    except TypeError:
        raise UnfitError(Code.TOO_DEEP, f"the row is nested more than {_WRITTEN_DEPTH} deep") from None
