"""What an operator sends to one output in one go, as the bytes in which it crosses from Python to the JVM.

`operators/jvm/millrace/Outputs.java` takes them apart into single messages, each with key, headers and time.
One byte string costs a fraction of a row for each message. Numbers are little-endian: version (1 byte), flags
(1), number of columns (2), count of messages (4), their times (8 each, or one for all), then the columns of
which each message is joined (`schemas.message_columns`), then keys and headers where the flags say that there
are any. A column is a length (4) and that many bytes, which all messages share; or -1, a length for each
message (4 each) and their bytes. A length of -1 in the first column, or of a key, is null.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from schemas.message_columns import Column, Messages
from schemas.micro_batch import Headers, encode_headers

VERSION = 2
MESSAGE_LIMIT = 1_047_000
"""The longest message that leaves, in bytes of value, key and headers: Kafka takes 1,048,576 with what it
adds."""
_KEYS, _HEADERS, _TIMES = 1, 2, 4
_HEAD = struct.Struct("<BBHi")
_LENGTH = struct.Struct("<i")
_EACH = _LENGTH.pack(-1)
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
    count, flags = len(messages), 0
    columns = [*Messages.of(messages).columns]
    joined = len(columns)
    if keys is not None and any(key is not None for key in keys):
        flags |= _KEYS
        columns.append(Column.of(keys))
    if headers is not None and any(headers):
        flags |= _HEADERS
        columns.append(Column.of(list(map(encode_headers, headers))))
    times = [_NO_TIME if time is None else time for time in event_times]
    if len(times) > 1:
        flags |= _TIMES
    wrong = [len(c.lengths) for c in columns if c.lengths is not None and len(c.lengths) != count]
    if wrong or len(times) not in (1, count):
        raise ValueError(f"an output batch of {count} messages has columns of {[*wrong, len(times)]}")
    head = _HEAD.pack(VERSION, flags, joined, count)
    parts: list[bytes | bytearray] = [head, np.array(times, "<i8").tobytes()]
    for column in columns:
        if column.lengths is None:
            parts += (_LENGTH.pack(len(column.data)), column.data)
        else:
            parts += (_EACH, column.lengths.tobytes(), column.data)
    return b"".join(parts)
