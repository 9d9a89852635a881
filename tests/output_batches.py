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
    version, flags, joined, count = struct.unpack_from("<BBHi", packed)
    assert version == 2 and not flags & ~7
    at = 8

    def numbers(kind: str, n: int) -> list[int]:
        nonlocal at
        found = struct.unpack_from(f"<{n}{kind}", packed, at)
        at += n * struct.calcsize(f"<{kind}")
        return list(found)

    times = numbers("q", count) if flags & 4 else numbers("q", 1) * count
    found: list[list[bytes | None]] = []
    for _ in range(joined + (flags & 1) + (flags >> 1 & 1)):
        (constant,) = numbers("i", 1)
        if constant >= 0:
            found.append([packed[at : at + constant]] * count)
            at += constant
            continue
        found.append([])
        for length in numbers("i", count):
            found[-1].append(None if length < 0 else packed[at : at + length])
            at += max(0, length)
    assert at == len(packed)
    parts, found = found[:joined], found[joined:]
    values = [b"".join(part or b"" for part in of_one) for of_one in zip(*parts, strict=True)]
    nothing: list[bytes | None] = [None] * count
    keys = found.pop(0) if flags & 1 else nothing
    headers = found.pop(0) if flags & 2 else nothing
    return [
        Message(value, None if time == -(2**63) else time, key, decode_headers(head or b""))
        for value, time, key, head in zip(values, times, keys, headers, strict=True)
    ]
