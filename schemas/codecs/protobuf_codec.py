"""Protobuf records of one message type, found in a descriptor set (`protoc --include_imports -o FILE`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from schemas.codecs.base import Code, UnfitError, check_size
from schemas.codecs.matrix import Access
from schemas.codecs.parsed import ParsedCodec
from schemas.codecs.protobuf_values import look, message_json, repeated
from schemas.errors import CodecError


class ProtobufCodec(ParsedCodec):
    """Decodes messages of the type with the full name `message`, as the file `descriptor_set` defines it.

    A field with presence (`optional`, proto2, a message) that is not set is missing; one without presence
    has its default, as protobuf means it. Messages of protobuf's own are what they stand for, see
    `protobuf_values`.
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
        if all(f is not None and not f.has_presence and not repeated(f) for f in found):
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


MESSAGES = Access(one_by_one, look)
"""Records that are messages of several types."""
