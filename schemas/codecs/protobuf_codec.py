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

from schemas.codecs.base import Code, UnfitError, check_size, parse_each
from schemas.codecs.declared import assemble_declared
from schemas.codecs.field_reading import Readings
from schemas.codecs.matrix import Access, assemble
from schemas.errors import CodecError
from schemas.tensors import Decoded, Input

_KINDS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
_WRAPPERS = frozenset(f"google.protobuf.{kind}Value" for kind in _KINDS)
_TIMES = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})


class ProtobufCodec:
    """Decodes messages of the type with the full name `message`, as the file `descriptor_set` defines it.

    A field with presence (`optional`, proto2, a message) that is not set is missing; one without presence
    has its default, as protobuf means it. Wrappers are their values, times milliseconds.
    Raises `CodecError` for an unreadable set or an unknown type.
    """

    def __init__(self, descriptor_set: str, message: str, max_bytes: int = 1 << 20) -> None:
        pool = DescriptorPool()
        try:
            for file in FileDescriptorSet.FromString(Path(descriptor_set).read_bytes()).file:
                pool.Add(file)
            self._type = GetMessageClass(pool.FindMessageTypeByName(message))
        except KeyError:
            raise CodecError(f"{descriptor_set} defines no message {message!r}: give its full name") from None
        except (OSError, DecodeError, TypeError) as e:
            raise CodecError(
                f"cannot use the descriptor set {descriptor_set} (made with --include_imports?): {e}"
            ) from e
        self._message = message
        self._fields = self._type.DESCRIPTOR.fields_by_name
        self._max_bytes = max_bytes
        self._access = Access(self._getter, self._look)

    def decode(self, payloads: Sequence[bytes], inputs: Sequence[Input], readings: Readings = ()) -> Decoded:
        messages, kept, bad = parse_each(payloads, self._parse)
        if readings:
            return assemble_declared(messages, inputs, readings, access=self._access, kept=kept, bad=bad)
        return assemble(messages, inputs, self._access, kept, bad)

    def to_json(self, payload: bytes) -> bytes | None:
        try:
            return orjson.dumps(_plain(self._parse(payload)))
        except (UnfitError, TypeError):
            return None

    def _parse(self, payload: bytes) -> Message:
        check_size(payload, self._max_bytes)
        try:
            return self._type.FromString(payload)
        except DecodeError as e:
            raise UnfitError(Code.UNPARSABLE, f"not a {self._message}: {e!s:.120}") from None

    def _getter(self, fields: Sequence[str]) -> Callable[[Message], Any]:
        """For whole blocks: plain fields in one call, all others (or unknown ones) one by one."""
        found = [self._fields.get(name) for name in fields]
        if all(f is not None and not f.has_presence and not _repeated(f) for f in found):
            return attrgetter(*fields)
        if len(fields) == 1:
            return lambda message: self._look(message, fields[0])
        return lambda message: [self._look(message, name) for name in fields]

    def _look(self, message: Any, field: str) -> Any:
        if isinstance(message, dict):  # a map field
            return message[field]
        known = message.DESCRIPTOR.fields_by_name[field]
        if _is_map(known):
            return dict(getattr(message, field))
        if _repeated(known):
            return list(map(_well_known, getattr(message, field)))
        if known.has_presence and not message.HasField(field) and not known.has_default_value:
            raise KeyError(field)
        return _well_known(getattr(message, field))


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


def _plain(value: Any) -> Any:
    """A message as JSON-ready values: numbers stay numbers, enums are numbers, bytes are base64."""
    value = _well_known(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if not isinstance(value, Message):
        return value
    out: dict[str, Any] = {}
    for field in value.DESCRIPTOR.fields:
        content = getattr(value, field.name)
        if _is_map(field):
            out[field.name] = {str(k): _plain(content[k]) for k in content}
        elif _repeated(field):
            out[field.name] = [_plain(v) for v in content]
        elif not field.has_presence or value.HasField(field.name):
            out[field.name] = _plain(content)
    return out
