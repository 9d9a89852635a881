"""Output batches taken apart, as `operators/jvm/millrace/Outputs.java` does it, for tests without a JVM."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from schemas.micro_batch import Headers, decode_headers


@dataclass(frozen=True)
class Message:
    """`event_time` in epoch milliseconds; None where there is none, as for `key`."""

    value: bytes
    event_time: int | None
    key: bytes | None = None
    headers: Headers = ()


def messages_of(packed: bytes) -> list[Message]:
    """The messages of an output batch, in order. Raises `AssertionError` for bytes that are left."""
    version, flags, count = struct.unpack_from("<BBi", packed)
    assert version == 1 and not flags & ~7
    at = 6

    def numbers(kind: str, n: int) -> list[int]:
        nonlocal at
        found = struct.unpack_from(f"<{n}{kind}", packed, at)
        at += n * struct.calcsize(f"<{kind}")
        return list(found)

    times = numbers("q", count) if flags & 4 else numbers("q", 1) * count
    columns = [numbers("i", count) for _ in range(1 + (flags & 1) + (flags >> 1 & 1))]
    found: list[list[bytes | None]] = []
    for lengths in columns:
        found.append([])
        for length in lengths:
            found[-1].append(None if length < 0 else packed[at : at + length])
            at += max(0, length)
    assert at == len(packed)
    nothing: list[bytes | None] = [None] * count
    values = found.pop(0)
    keys = found.pop(0) if flags & 1 else nothing
    headers = found.pop(0) if flags & 2 else nothing
    return [
        Message(value or b"", None if time == -(2**63) else time, key, decode_headers(head or b""))
        for value, time, key, head in zip(values, times, keys, headers, strict=True)
    ]
