"""A block of records, and the few byte strings as which it crosses from the JVM to Python and back.

A Python object made for each record on the way across costs more than decoding the record, and a list made
for each column in the JVM's window as much again. So the JVM joins a block's records with the record
separator (U+001E). A record without key and headers is its payload as it is, as long as that neither holds
the separator nor begins with the frame mark (U+001D); any other is framed: mark, flags, mark, key, mark,
headers as JSON, mark, payload. Flags: `p` the payload is in base64, `k` there is a key, `K` there is one in
base64.
This module is the one place that knows the layout; `operators.sources.kafka_records` writes it in SQL.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import orjson

SEPARATOR = b"\x1e"
FRAME = b"\x1d"
_BITS = 16
PARTITIONS = 1 << _BITS
"""An id is offset * PARTITIONS + partition: fewer partitions a topic, and offsets below 2**47."""

Headers = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Block:
    """n records of one data type and one source.

    `source`: topic or folder; `partitions` and `offsets` identify each record in it; `event_times` in epoch
    milliseconds. `keys` and `headers` are None where no record of the block has one.
    """

    data_type: str
    source: str
    payloads: Sequence[bytes]
    partitions: Sequence[int]
    offsets: Sequence[int]
    event_times: Sequence[int]
    keys: Sequence[bytes | None] | None = None
    headers: Sequence[Headers | None] | None = None

    def __len__(self) -> int:
        return len(self.payloads)

    def slice(self, start: int, stop: int) -> Block:
        """The records from index `start` up to `stop`, which is left out."""
        part = slice(start, stop)
        return Block(
            self.data_type,
            self.source,
            self.payloads[part],
            self.partitions[part],
            self.offsets[part],
            self.event_times[part],
            self.keys and self.keys[part],
            self.headers and self.headers[part],
        )


@dataclass(frozen=True, slots=True)
class PackedBlock:
    """A block on its way. `ids` and `event_times`: JSON arrays of one number a record."""

    data_type: str
    source: str
    count: int
    records: bytes
    ids: bytes
    event_times: bytes


def unpack(packed: PackedBlock) -> Block:
    """Raises `ValueError` where the parts disagree about how many records there are."""
    ids, event_times = orjson.loads(packed.ids), orjson.loads(packed.event_times)
    payloads: list[bytes] = packed.records.split(SEPARATOR)
    lengths = {packed.count, len(payloads), len(ids), len(event_times)}
    if len(lengths) != 1:
        raise ValueError(f"a block of {packed.count} records arrived with parts of {sorted(lengths)} records")
    keys, headers = None, None
    if FRAME in packed.records and any(map(bytes.startswith, payloads, repeat(FRAME))):
        framed = [_unframed(p) if p.startswith(FRAME) else (p, None, None) for p in payloads]
        payloads, keys, headers = map(list, zip(*framed, strict=True))
    return Block(
        packed.data_type,
        packed.source,
        payloads,
        [id & (PARTITIONS - 1) for id in ids],
        [id >> _BITS for id in ids],
        event_times,
        keys if keys and any(k is not None for k in keys) else None,
        headers if headers and any(headers) else None,
    )


def pack(block: Block) -> PackedBlock:
    """The inverse of `unpack`."""
    nothing = [None] * len(block)
    ids = [(o << _BITS) + p for p, o in zip(block.partitions, block.offsets, strict=True)]
    records = map(_record, block.payloads, block.keys or nothing, block.headers or nothing)
    return PackedBlock(
        block.data_type,
        block.source,
        len(block),
        SEPARATOR.join(records),
        orjson.dumps(ids),
        orjson.dumps(list(block.event_times)),
    )


def _record(payload: bytes, key: bytes | None, headers: Headers | None) -> bytes:
    mixed = SEPARATOR in payload
    if key is None and not headers and not mixed and not payload.startswith(FRAME):
        return payload
    plain = key is None or (SEPARATOR not in key and FRAME not in key)
    flags = (b"p" if mixed else b"") + (b"" if key is None else b"k" if plain else b"K")
    packed_key = b"" if key is None else key if plain else base64.b64encode(key)
    body = base64.b64encode(payload) if mixed else payload
    return FRAME + FRAME.join((flags, packed_key, _packed_headers(headers), body))


def _unframed(record: bytes) -> tuple[bytes, bytes | None, Headers | None]:
    flags, key, headers, payload = record[1:].split(FRAME, 3)
    return (
        base64.b64decode(payload) if b"p" in flags else payload,
        key if b"k" in flags else base64.b64decode(key) if b"K" in flags else None,
        _headers(headers) if headers else None,
    )


def _headers(packed: bytes) -> Headers:
    return {name: base64.b64decode(value or "") for name, value in orjson.loads(packed).items()}


def _packed_headers(headers: Headers | None) -> bytes:
    if not headers:
        return b""
    return orjson.dumps({name: base64.b64encode(value).decode() for name, value in headers.items()})
