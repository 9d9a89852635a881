"""What stands before a record: a zero, the schema's id, and for protobuf which of its messages it is."""

from __future__ import annotations

import struct

from schemas.codecs.base import Code, UnfitError

_HEAD = struct.Struct(">bI")
SIZE = _HEAD.size
_MOST_INDEXES = 64
"""Messages within messages; protobuf itself reads 100 deep."""


def schema_id(payload: bytes) -> tuple[int, bytes]:
    """The id and what follows it. Raises `UnfitError`."""
    if len(payload) < SIZE or payload[0] != 0:
        raise UnfitError(Code.UNPARSABLE, "the payload has no schema registry header (a zero byte and an id)")
    return _HEAD.unpack_from(payload)[1], payload[SIZE:]


def message_indexes(body: bytes) -> tuple[tuple[int, ...], bytes]:
    """Which message of a schema a record is (its place among those of the file, then within that message, and
    so on), and what follows. Raises `UnfitError`."""
    count, at = _varint(body, 0)
    if count == 0:  # short for the first of the file
        return (0,), body[at:]
    if not 0 < count <= _MOST_INDEXES:
        raise UnfitError(Code.UNPARSABLE, f"{count} message indexes stand before the record")
    found = []
    for _ in range(count):
        index, at = _varint(body, at)
        found.append(index)
    return tuple(found), body[at:]


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """A number in zigzag, as Avro and Confluent write it, and where it ends."""
    value = shift = 0
    while at < len(body) and shift < 35:
        value |= (body[at] & 0x7F) << shift
        at += 1
        if not body[at - 1] & 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    raise UnfitError(Code.UNPARSABLE, "the message indexes before the record are cut off")
