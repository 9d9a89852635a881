"""Protobuf behind a registry's id and message indexes: the message types come from the registry."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError, Message

from schemas.codecs.base import Code, UnfitError
from schemas.codecs.protobuf_codec import parse_message
from schemas.codecs.registered.framing import message_indexes
from schemas.codecs.registered.lookup import RegisteredSchema
from schemas.errors import CodecError


def protobuf_parser(
    number: int, found: RegisteredSchema, own: Callable[[bytes], Message] | None
) -> Callable[[bytes], Message]:
    """What reads the records of schema `number`. `own`: reads all of them, as the reader's message; without,
    each is the message of the schema that its indexes name. Raises `CodecError`."""
    if own is not None:
        return lambda body: own(message_indexes(body)[1])
    file = _file(number, found)
    known: dict[tuple[int, ...], type[Message]] = {}

    def parse(body: bytes) -> Message:
        indexes, rest = message_indexes(body)
        if indexes not in known:
            known[indexes] = message_factory.GetMessageClass(_message(file, indexes, number))
        return parse_message(known[indexes], rest)

    return parse


def _message(file: FileDescriptor, indexes: tuple[int, ...], number: int) -> Descriptor:
    messages = list(file.message_types_by_name.values())
    try:
        if min(indexes) < 0:
            raise IndexError
        found = messages[indexes[0]]
        for index in indexes[1:]:
            found = found.nested_types[index]
    except IndexError:
        where = ", ".join(map(str, indexes))
        raise UnfitError(Code.UNPARSABLE, f"schema {number} has no message at index {where}") from None
    return found


def _file(number: int, found: RegisteredSchema) -> FileDescriptor:
    pool = descriptor_pool.DescriptorPool()
    name = f"schema-{number}.proto"
    try:
        _add(pool, name, found, {})
        return pool.FindFileByName(name)
    except (binascii.Error, DecodeError, UnicodeError):
        raise CodecError(
            f"the registry gives schema {number} as text and not as descriptors: "
            "name the message and its descriptor_set in the codec's settings"
        ) from None
    except (KeyError, TypeError, ValueError, RecursionError) as e:
        raise CodecError(f"the protobuf schema {number} cannot be used: {e!s:.200}") from None


def _add(
    pool: descriptor_pool.DescriptorPool, name: str, found: RegisteredSchema, added: dict[str, None]
) -> None:
    file = FileDescriptorProto.FromString(base64.b64decode(found.text, validate=True))
    file.name = name
    added[name] = None
    for needed in file.dependency:
        if needed in added:
            continue
        if needed in found.references:
            _add(pool, needed, found.references[needed], added)
        else:
            _add_common(pool, needed, added)
    pool.Add(file)


def _add_common(pool: descriptor_pool.DescriptorPool, name: str, added: dict[str, None]) -> None:
    """One of protobuf's own files, which no registry holds. Raises `KeyError` for another name."""
    from google.protobuf import (  # noqa: F401, PLC0415 - being imported, they are in the default pool
        any_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )

    file = FileDescriptorProto()
    descriptor_pool.Default().FindFileByName(name).CopyToProto(file)
    added[name] = None
    for needed in file.dependency:
        if needed not in added:
            _add_common(pool, needed, added)
    pool.Add(file)
