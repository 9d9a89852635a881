"""What an operator sends to one output in one go, as the bytes in which it crosses from Python to the JVM.

`operators/jvm/millrace/Outputs.java` takes them apart into single messages, each with key, headers and time.
One byte string costs a fraction of a row for each message. Numbers are little-endian: version (1 byte), flags
(1), count (4), the messages' times (8 each, or one for all), their lengths (4 each), lengths of keys and of
headers where the flags say that there are any, then all messages, keys and headers. A length of -1 is null.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from schemas.micro_batch import Headers, encode_headers, lengths_of

VERSION = 1
MESSAGE_LIMIT = 1_047_000
"""The longest message that leaves, in bytes of value, key and headers: Kafka takes 1,048,576 with what it
adds."""
_KEYS, _HEADERS, _TIMES = 1, 2, 4
_HEAD = struct.Struct("<BBi")
_NO_TIME = -(2**63)


def encode_output_batch(
    messages: Sequence[bytes],
    event_times: Sequence[int | None],
    keys: Sequence[bytes | None] | None = None,
    headers: Sequence[Headers] | None = None,
) -> bytes:
    """The bytes of n messages. `event_times` (epoch milliseconds, None: none) has n values, or one for all.

    Raises `ValueError` where a column has another length.
    """
    count = len(messages)
    columns: list[Sequence[bytes | None]] = [messages]
    flags = 0
    if keys is not None and any(key is not None for key in keys):
        flags |= _KEYS
        columns.append(keys)
    if headers is not None and any(headers):
        flags |= _HEADERS
        columns.append(list(map(encode_headers, headers)))
    times = [_NO_TIME if time is None else time for time in event_times]
    if len(times) > 1:
        flags |= _TIMES
    wrong = [len(column) for column in columns if len(column) != count]
    if wrong or len(times) not in (1, count):
        raise ValueError(f"an output batch of {count} messages has columns of {[*wrong, len(times)]}")
    parts = [_HEAD.pack(VERSION, flags, count), np.array(times, "<i8").tobytes()]
    parts += [np.array(lengths_of(column), "<i4").tobytes() for column in columns]
    parts += [value for column in columns for value in column if value]
    return b"".join(parts)
