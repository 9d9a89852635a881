"""The counters that refuse replays: one for each key, data type and name, kept in state by the caller.

One for a key alone would refuse what is honest: a topic keeps the order of messages of one name only.
"""

from __future__ import annotations

import struct
from typing import Protocol

import orjson

from schemas.errors import StateError

_COUNTER = struct.Struct("<BQ")
_VERSION = 1


class CounterStore(Protocol):
    """Bytes by name, which a checkpoint keeps."""

    def get(self, name: str) -> bytes | None: ...

    def put(self, name: str, value: bytes) -> None: ...


class CountersInMemory(dict[str, bytes]):
    """A store that nothing outlives."""

    def put(self, name: str, value: bytes) -> None:
        self[name] = value


def counter_name(fingerprint: str, data_type: str, name: str) -> str:
    return orjson.dumps([fingerprint, data_type, name]).decode()


def encode_counter(counter: int) -> bytes:
    """Version 1: one unsigned number."""
    return _COUNTER.pack(_VERSION, counter)


def decode_counter(packed: bytes) -> int:
    """Raises `StateError` for another version."""
    if packed[0] != _VERSION:
        raise StateError(f"a signature's counter has version {packed[0]}; this release reads {_VERSION}")
    return int(_COUNTER.unpack(packed)[1])
