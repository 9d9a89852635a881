"""Protobuf records of one message type, found in a descriptor set (`protoc --include_imports -o FILE`)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from schemas.codecs.base import Code, UnfitError, check_size
from schemas.codecs.matrix import Access
from schemas.codecs.parsed import ParsedCodec
from schemas.errors import CodecError

_KINDS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
_WRAPPERS = frozenset(f"google.protobuf.{kind}Value" for kind in _KINDS)
_TIMES = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})


class ProtobufCodec(ParsedCodec):
    """Decodes messages of the type with the full name `message`, as the file `descriptor_set` defines it.

    A field with presence (`optional`, proto2, a message) that is not set is missing; one without presence
    has its default, as protobuf means it. Wrappers are their values, times milliseconds.
    Raises `CodecError` for an unreadable set or an unknown type.
    """

    def __init__(self, descriptor_set: str, message: str, max_bytes: int = 1 << 20) -> None:
        self.message = kind = message_type(descriptor_set, message)
        self._fields = kind.DESCRIPTOR.fields_by_name

        def parse(payload: bytes) -> Message:
            check_size(payload, max_bytes)
            return parse_message(kind, payload)

        super().__init__(parse, Access(self._getter, look), message_json)

    def _getter(self, fields: Sequence[str]) -> Callable[[Message], Any]:
        """For whole micro-batches: plain fields in one call, all others (or unknown ones) one by one."""
        found = [self._fields.get(name) for name in fields]
        if all(f is not None and not f.has_presence and not _repeated(f) for f in found):
            return attrgetter(*fields)
        return one_by_one(fields)


def message_type(descriptor_set: str, message: str) -> type[Message]:
    """The type that a file of descriptors defines. Raises `CodecError`."""
    pool = DescriptorPool()
    try:
        for file in FileDescriptorSet.FromString(Path(descriptor_set).read_bytes()).file:
            pool.Add(file)
        return GetMessageClass(pool.FindMessageTypeByName(message))
    except KeyError:
        raise CodecError(f"{descriptor_set} defines no message {message!r}: give its full name") from None
    except (OSError, DecodeError, TypeError) as e:
        raise CodecError(
            f"cannot use the descriptor set {descriptor_set} (made with --include_imports?): {e}"
        ) from e


def parse_message(kind: type[Message], body: bytes) -> Message:
    """Raises `UnfitError`."""
    try:
        return kind.FromString(body)
    except DecodeError as e:
        raise UnfitError(Code.UNPARSABLE, f"not a {kind.DESCRIPTOR.full_name}: {e!s:.120}") from None


def one_by_one(fields: Sequence[str]) -> Callable[[Any], Any]:
    """For messages of any type."""
    if len(fields) == 1:
        return lambda message: look(message, fields[0])
    return lambda message: [look(message, name) for name in fields]


def look(message: Any, field: str) -> Any:
    """The value of a message's field, or of a map's key. Raises `KeyError` where there is none."""
    if isinstance(message, dict):  # a map field
        return message[field]
    known = message.DESCRIPTOR.fields_by_name[field]
    if _is_map(known):
        return _entries(message, field)
    if _repeated(known):
        return list(map(_well_known, getattr(message, field)))
    if known.has_presence and not message.HasField(field) and not known.has_default_value:
        raise KeyError(field)
    return _well_known(getattr(message, field))


MESSAGES = Access(one_by_one, look)
"""Records that are messages of several types."""


def _well_known(value: Any) -> Any:
    """A wrapper (`DoubleValue`, ...) as its value, a `Timestamp` or `Duration` as whole milliseconds."""
    if not isinstance(value, Message):
        return value
    name = value.DESCRIPTOR.full_name
    if name in _WRAPPERS:
        return value.value
    if name in _TIMES:
        return value.seconds * 1000 + value.nanos // 1_000_000
    return value


def _repeated(field: FieldDescriptor) -> bool:
    return field.label == FieldDescriptor.LABEL_REPEATED


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _entries(message: Message, field: str) -> dict[Any, Any]:
    """A map of a message. A key of proto2 need not be UTF-8, which shows here. Raises `UnfitError`."""
    try:
        return dict(getattr(message, field))
    except UnicodeDecodeError:
        raise UnfitError(Code.UNPARSABLE, f"a key of the map {field!r} is no UTF-8") from None


def plain(value: Any) -> Any:
    """A message as JSON-ready values: numbers stay numbers, enums are numbers, bytes are base64.

    Raises `UnfitError`.
    """
    value = _well_known(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if not isinstance(value, Message):
        return value
    out: dict[str, Any] = {}
    for field in value.DESCRIPTOR.fields:
        content = getattr(value, field.name)
        if _is_map(field):
            out[field.name] = {str(k): plain(v) for k, v in _entries(value, field.name).items()}
        elif _repeated(field):
            out[field.name] = [plain(v) for v in content]
        elif not field.has_presence or value.HasField(field.name):
            out[field.name] = plain(content)
    return out


def message_json(message: Message) -> bytes:
    return orjson.dumps(plain(message))
