"""A micro-batch of records, and the bytes as which it crosses from the JVM to Python and lies in state.

The layout has a version and is made for numpy: arrays of numbers, then the bytes of all payloads, all keys
and all headers one after the other. `schemas/state/README.md` describes it;
`operators/jvm/millrace/MicroBatch.java` writes it, and this module reads and writes it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np

from schemas.errors import StateError

T = TypeVar("T")

VERSION = 1
_KEYS, _HEADERS = 1, 2
_HEAD = struct.Struct("<BBHHHi")
_LENGTH = struct.Struct("<i")
_BEAT_BYTES = 8
_NULL = -1
_NO_TIME = -(2**63)

NULL_PAYLOAD = b"\xff"
"""What stands for a payload that is null (a deletion): no codec takes it for a record."""

Header = tuple[str, bytes | None]
Headers = tuple[Header, ...]
"""In the order in which they came; a name may come again, and a value may be null."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """n records of one data type and one source.

    `source`: topic, or path of a file below the folder that is read. `partitions` and `offsets` identify each
    record in it. `event_times`: epoch milliseconds, None where the record has none. `keys` and `headers` are
    None where no record of the micro-batch has one. A payload that is null is NULL_PAYLOAD here, and its
    index is in `null_payloads`.
    """

    data_type: str
    source: str
    payloads: Sequence[bytes]
    partitions: Sequence[int]
    offsets: Sequence[int]
    event_times: Sequence[int | None]
    keys: Sequence[bytes | None] | None = None
    headers: Sequence[Headers] | None = None
    null_payloads: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.payloads)

    def slice(self, start: int, stop: int) -> MicroBatch:
        """The records from index `start` up to `stop`, which is left out."""
        part = slice(start, stop)
        return MicroBatch(
            self.data_type,
            self.source,
            self.payloads[part],
            self.partitions[part],
            self.offsets[part],
            self.event_times[part],
            self.keys and self.keys[part],
            self.headers and self.headers[part],
            frozenset(row - start for row in self.null_payloads if start <= row < stop),
        )

    def take(self, rows: Sequence[int]) -> MicroBatch:
        """The records at these indices, in their order."""

        def some(column: Sequence[T]) -> list[T]:
            return [column[row] for row in rows]

        return MicroBatch(
            self.data_type,
            self.source,
            some(self.payloads),
            some(self.partitions),
            some(self.offsets),
            some(self.event_times),
            self.keys and some(self.keys),
            self.headers and some(self.headers),
            frozenset(at for at, row in enumerate(rows) if row in self.null_payloads),
        )


def joined(batches: Sequence[MicroBatch]) -> MicroBatch:
    """The records of micro-batches of one data type and one source, in their order."""
    first, starts = batches[0], np.cumsum([0, *map(len, batches)]).tolist()
    keys = any(batch.keys is not None for batch in batches)
    headers = any(batch.headers is not None for batch in batches)
    return MicroBatch(
        first.data_type,
        first.source,
        [payload for batch in batches for payload in batch.payloads],
        [partition for batch in batches for partition in batch.partitions],
        [offset for batch in batches for offset in batch.offsets],
        [at for batch in batches for at in batch.event_times],
        [key for batch in batches for key in batch.keys or [None] * len(batch)] if keys else None,
        [some for batch in batches for some in batch.headers or [()] * len(batch)] if headers else None,
        frozenset(
            start + row for start, batch in zip(starts, batches, strict=False) for row in batch.null_payloads
        ),
    )


def in_slices(batch: MicroBatch, size: int) -> Iterator[MicroBatch]:
    """The micro-batch in parts of at most `size` records."""
    if len(batch) <= size:
        yield batch
        return
    for start in range(0, len(batch), size):
        yield batch.slice(start, start + size)


def encode_micro_batch(batch: MicroBatch) -> bytes:
    """The bytes of a micro-batch.

    Raises `ValueError` where its columns have different lengths.
    """
    count = len(batch)
    data_type, source = batch.data_type.encode(), batch.source.encode()
    payloads = [None if row in batch.null_payloads else p for row, p in enumerate(batch.payloads)]
    times = [_NO_TIME if time is None else time for time in batch.event_times]
    headers = None if batch.headers is None else list(map(encode_headers, batch.headers))
    flags = (0 if batch.keys is None else _KEYS) | (0 if headers is None else _HEADERS)
    numbers = [(batch.offsets, "<i8"), (times, "<i8"), (batch.partitions, "<i4")]
    held: list[Sequence[bytes | None]] = [payloads]
    held += [column for column in (batch.keys, headers) if column is not None]
    parts = [_HEAD.pack(VERSION, flags, len(data_type), len(source), 0, count), data_type, source]
    parts += [_numbers(column, kind, count) for column, kind in numbers]
    parts += [_numbers(lengths_of(column), "<i4", count) for column in held]
    parts += [value for column in held for value in column if value]
    return b"".join(parts)


def decode_micro_batch(data: bytes) -> MicroBatch:
    """The micro-batch in these bytes. Raises `StateError` for another version, or bytes that are cut."""
    if len(data) < _HEAD.size or data[0] != VERSION:
        raise StateError(
            f"a micro-batch of version {data[0] if data else 'none'} ({len(data)} bytes) cannot be read; "
            f"this release reads version {VERSION}: run the release that wrote it, or run scripts/setup"
        )
    _, flags, type_length, source_length, _, count = _HEAD.unpack_from(data)
    at = _HEAD.size
    try:
        data_type, at = data[at : at + type_length].decode(), at + type_length
        source, at = data[at : at + source_length].decode(), at + source_length
        offsets, at = np.frombuffer(data, "<i8", count, at).tolist(), at + 8 * count
        times, at = np.frombuffer(data, "<i8", count, at), at + 8 * count
        partitions, at = np.frombuffer(data, "<i4", count, at).tolist(), at + 4 * count
        lengths, at = np.frombuffer(data, "<i4", count, at), at + 4 * count
        key_lengths = header_lengths = None
        if flags & _KEYS:
            key_lengths, at = np.frombuffer(data, "<i4", count, at), at + 4 * count
        if flags & _HEADERS:
            header_lengths, at = np.frombuffer(data, "<i4", count, at), at + 4 * count
    except ValueError as e:
        raise StateError(f"a micro-batch of {count} records is cut at {len(data)} bytes: {e}") from None
    payloads, at = _slices(data, lengths, at)
    keys: list[bytes | None] | None = None
    packed: list[bytes] | None = None
    if key_lengths is not None:
        found, at = _slices(data, key_lengths, at)
        keys = [key if length >= 0 else None for key, length in zip(found, key_lengths.tolist(), strict=True)]
    if header_lengths is not None:
        packed, at = _slices(data, header_lengths, at)
    if at != len(data):
        raise StateError(f"a micro-batch of {count} records has {len(data)} bytes, and not the {at} it says")
    try:
        headers = None if packed is None else [decode_headers(one) if one else () for one in packed]
    except struct.error as e:
        raise StateError(f"a micro-batch of {count} records has headers that are cut: {e}") from None
    null: frozenset[int] = frozenset()
    if count and lengths.min() < 0:
        null = frozenset(np.flatnonzero(lengths < 0).tolist())
        payloads = [NULL_PAYLOAD if row in null else payload for row, payload in enumerate(payloads)]
    event_times: list[int | None] = times.tolist()
    if count and times.min() < 0:
        event_times = [None if time < 0 else time for time in event_times]  # type: ignore[operator]
    return MicroBatch(data_type, source, payloads, partitions, offsets, event_times, keys, headers, null)


def beat_ms(data: bytes) -> int:
    """The milliseconds that a beat, which `MicroBatcher.java` sends among micro-batches, says have passed
    where records are read; 0 for any other bytes. At the end of a finite input it is for ever."""
    return int.from_bytes(data, "big") if len(data) == _BEAT_BYTES else 0


def record_count(data: bytes) -> int:
    """How many records the micro-batch in these bytes has."""
    return int(_HEAD.unpack_from(data)[-1])


def encode_headers(headers: Headers) -> bytes:
    """Of each header the length of its name, the name, the length of its value (-1: null), the value."""
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode("utf-8", "surrogatepass")
        parts += (_LENGTH.pack(len(encoded)), encoded)
        parts += (_LENGTH.pack(_NULL),) if value is None else (_LENGTH.pack(len(value)), value)
    return b"".join(parts)


def decode_headers(packed: bytes) -> Headers:
    """The inverse of `encode_headers`."""
    found: list[Header] = []
    at = 0
    while at < len(packed):
        name, at = _text(packed, at)
        value, at = _text(packed, at)
        found.append(((name or b"").decode("utf-8", "replace"), value))
    return tuple(found)


def lengths_of(values: Sequence[bytes | None]) -> list[int]:
    """The length of each, -1 for None."""
    return list(map(len, values)) if None not in values else [_NULL if v is None else len(v) for v in values]  # type: ignore[arg-type]


def _text(packed: bytes, at: int) -> tuple[bytes | None, int]:
    (length,) = _LENGTH.unpack_from(packed, at)
    at += _LENGTH.size
    return (None, at) if length < 0 else (packed[at : at + length], at + length)


def _numbers(values: Sequence[int], kind: str, count: int) -> bytes:
    if len(values) != count:
        raise ValueError(f"a micro-batch of {count} records has a column of {len(values)}")
    return np.array(values, kind).tobytes()


def _slices(data: bytes, lengths: np.ndarray, at: int) -> tuple[list[bytes], int]:
    """The byte strings of these lengths, one after the other from `at`, and where they end."""
    ends = np.empty(len(lengths) + 1, np.int64)
    ends[0] = at
    np.cumsum(np.maximum(lengths, 0), out=ends[1:])
    ends[1:] += at
    return [data[start:end] for start, end in pairwise(ends.tolist())], int(ends[-1])
