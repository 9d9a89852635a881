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

from schemas.message_columns import Messages
from schemas.micro_batch import Headers, encode_headers, lengths_of

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
    count = len(messages)
    flags = 0
    beside: list[Sequence[bytes | None]] = []
    if keys is not None and any(key is not None for key in keys):
        flags |= _KEYS
        beside.append(keys)
    if headers is not None and any(headers):
        flags |= _HEADERS
        beside.append(list(map(encode_headers, headers)))
    times = [_NO_TIME if time is None else time for time in event_times]
    if len(times) > 1:
        flags |= _TIMES
    wrong = [len(column) for column in beside if len(column) != count]
    if wrong or len(times) not in (1, count):
        raise ValueError(f"an output batch of {count} messages has columns of {[*wrong, len(times)]}")
    texts = messages.columns if isinstance(messages, Messages) else ()
    head = _HEAD.pack(VERSION, flags, len(texts) or 1, count)
    parts: list[bytes | bytearray] = [head, np.array(times, "<i8").tobytes()]
    for text in texts:
        parts += (_LENGTH.pack(len(text.data)),) if text.lengths is None else (_EACH, text.lengths.tobytes())
        parts.append(text.data)
    for column in beside if texts else [messages, *beside]:
        parts += (_EACH, np.array(lengths_of(column), "<i4").tobytes())
        parts += [value for value in column if value]
    return b"".join(parts)
