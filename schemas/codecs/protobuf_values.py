"""The values of protobuf messages: those of its own kinds (`google.protobuf`) as what they stand for.

Wrappers are their values, `Timestamp` and `Duration` whole milliseconds, a `Struct`, `Value` and `ListValue`
what they say, and an `Any` the message in it, with its `@type`, as protobuf's mapping to JSON has them.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from schemas.codecs.base import Code, UnfitError

_OWN = "google.protobuf."
_KINDS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
_WRAPPERS = frozenset(f"{_OWN}{kind}Value" for kind in _KINDS)
_TIMESTAMP, _DURATION, _ANY = f"{_OWN}Timestamp", f"{_OWN}Duration", f"{_OWN}Any"
_FREE = frozenset({f"{_OWN}Struct", f"{_OWN}Value", f"{_OWN}ListValue"})
_YEAR_1, _YEAR_10000, _LONGEST = -62_135_596_800, 253_402_300_800, 315_576_000_000
"""In seconds: what a Timestamp and a Duration may say."""
_MOST_DEEP = 16
"""Messages around an Any that is opened. Each counts its own depth from 0, and protobuf ends that at 100."""


class _NoTimeError(ValueError):
    """A Timestamp or Duration of seconds or nanoseconds that it may not have."""


def look(message: Any, field: str) -> Any:
    """The value of a message's field, or of a map's key.

    Raises `KeyError` where there is none, and `UnfitError` where it cannot be said.
    """
    if isinstance(message, dict):  # a map, a Struct, an Any
        return _told(message[field], field)
    if message.DESCRIPTOR.full_name == _ANY:  # it could not be opened: no default may stand for what it holds
        why = _inner(message)
        raise UnfitError(Code.WRONG_TYPE, f"field {field!r} is in an Any that cannot be read: {why}")
    known = message.DESCRIPTOR.fields_by_name[field]
    if _is_map(known):
        return _entries(message, field)
    if known.has_presence and not message.HasField(field) and not known.has_default_value:
        raise KeyError(field)
    value = getattr(message, field)
    if known.message_type is None:
        return list(value) if repeated(known) else value
    return [_told(one, field) for one in value] if repeated(known) else _told(value, field)


def plain(value: Any, depth: int = 0) -> Any:
    """A message as JSON-ready values: numbers stay numbers, enums are numbers, bytes are base64.

    An Any that cannot be read is its `type_url` and `value`, and what is no time is null. `depth`: of
    messages around it. Raises `UnfitError`.
    """
    try:
        value = _meant(value, depth)
    except _NoTimeError:
        return None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if not isinstance(value, Message):
        return value
    out: dict[str, Any] = {}
    for field in value.DESCRIPTOR.fields:
        content = getattr(value, field.name)
        if _is_map(field):
            out[field.name] = {k: plain(v, depth + 1) for k, v in _entries(value, field.name).items()}
        elif repeated(field):
            out[field.name] = [plain(v, depth + 1) for v in content]
        elif not field.has_presence or value.HasField(field.name):
            out[field.name] = plain(content, depth + 1)
    return out


def message_json(message: Message) -> bytes:
    return orjson.dumps(plain(message))


def _told(value: Any, field: str) -> Any:
    try:
        return _meant(value)
    except _NoTimeError as e:
        raise UnfitError(Code.WRONG_TYPE, f"field {field!r} holds {e}") from None


def _meant(value: Any, depth: int = 0) -> Any:
    """What a message of protobuf's own stands for; all else as it is."""
    if not isinstance(value, Message):
        return value
    name = value.DESCRIPTOR.full_name
    if name in _WRAPPERS:
        return value.value
    if name in (_TIMESTAMP, _DURATION):
        return _milliseconds(value, name)
    if name in _FREE:
        return _free(value)
    if name == _ANY and depth <= _MOST_DEEP and not isinstance(inner := _inner(value), str):
        found = plain(inner, depth + 1)
        own = inner.DESCRIPTOR.full_name.startswith(_OWN)
        return {"@type": value.type_url} | ({"value": found} if own else found)
    return value


def _milliseconds(value: Any, name: str) -> int:
    seconds, nanos = value.seconds, value.nanos
    if name == _TIMESTAMP:
        valid = _YEAR_1 <= seconds < _YEAR_10000 and 0 <= nanos < 10**9
    else:
        valid = abs(seconds) <= _LONGEST and abs(nanos) < 10**9 and seconds * nanos >= 0
    if not valid:
        raise _NoTimeError(
            f"a {name.removeprefix(_OWN)} of {seconds} s and {nanos} ns, which there is none of"
        )
    return seconds * 1000 + nanos // 1_000_000


def _free(value: Any) -> Any:
    """A Struct, ListValue or Value. They are nested no deeper than messages are."""
    name = value.DESCRIPTOR.full_name
    if name == f"{_OWN}Struct":
        return {key: _free(v) for key, v in value.fields.items()}
    if name == f"{_OWN}ListValue":
        return [_free(v) for v in value.values]
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    found = getattr(value, kind)
    return _free(found) if isinstance(found, Message) else found


def _inner(value: Any) -> Message | str:
    """The message in an Any, or why it cannot be read."""
    url = value.type_url
    name = url.rpartition("/")[2]
    try:
        kind = GetMessageClass(value.DESCRIPTOR.file.pool.FindMessageTypeByName(name))
    except KeyError:
        return f"its type {url[:100]!r} is not in the descriptor set"
    try:
        return kind.FromString(value.value)
    except DecodeError:
        return f"its bytes are no {name}"


def repeated(field: FieldDescriptor) -> bool:
    return field.label == FieldDescriptor.LABEL_REPEATED


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _entries(message: Message, field: str) -> dict[str, Any]:
    """A map, its keys as texts: `true`, `5`. A key of proto2 need not be UTF-8, which shows here.

    Raises `UnfitError`.
    """
    try:
        return {_key(key): value for key, value in getattr(message, field).items()}
    except UnicodeDecodeError:
        raise UnfitError(Code.UNPARSABLE, f"a key of the map {field!r} is no UTF-8") from None


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
