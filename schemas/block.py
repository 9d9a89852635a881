"""A block of records, and the few byte strings as which it crosses from the JVM to Python and back.

A Python object made for each record on the way across costs more than decoding the record. So the JVM
joins a block's payloads with the record separator (U+001E), which no JSON text can hold; a payload that holds
it, or the escape mark, arrives as the escape mark followed by its base64. This module is the one place that
knows the layout; `operators.kafka_records` writes it in SQL.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

SEPARATOR = b"\x1e"
ESCAPE = b"\x1d"

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
    """A block on its way. `ids` holds partition, offset and event time of each record, comma-separated.

    `keys` and `headers` are None where no record has one; a missing key is the escape mark alone, headers
    are a JSON object of base64 values or empty.
    """

    data_type: str
    source: str
    count: int
    payloads: bytes
    ids: bytes
    keys: bytes | None = None
    headers: bytes | None = None


def unpack(packed: PackedBlock) -> Block:
    """Raises `ValueError` where the parts disagree about how many records there are."""
    ids: list[int] = orjson.loads(b"[%b]" % packed.ids)
    block = Block(
        packed.data_type,
        packed.source,
        _split(packed.payloads),
        ids[0::3],
        ids[1::3],
        ids[2::3],
        None if packed.keys is None else _split_keys(packed.keys),
        None if packed.headers is None else [_headers(h) for h in packed.headers.split(SEPARATOR)],
    )
    lengths = {packed.count, len(block.payloads), len(ids) // 3}
    lengths |= {len(part) for part in (block.keys, block.headers) if part is not None}
    if len(lengths) != 1 or len(ids) % 3:
        raise ValueError(f"a block of {packed.count} records arrived with parts of {sorted(lengths)} records")
    return block


def pack(block: Block) -> PackedBlock:
    """The inverse of `unpack`."""
    ids = [n for one in zip(block.partitions, block.offsets, block.event_times, strict=True) for n in one]
    return PackedBlock(
        block.data_type,
        block.source,
        len(block),
        SEPARATOR.join(map(_escaped, block.payloads)),
        orjson.dumps(ids)[1:-1],
        None
        if block.keys is None
        else SEPARATOR.join(ESCAPE if k is None else _escaped(k) for k in block.keys),
        None if block.headers is None else SEPARATOR.join(map(_packed_headers, block.headers)),
    )


def _escaped(data: bytes) -> bytes:
    return ESCAPE + base64.b64encode(data) if SEPARATOR in data or ESCAPE in data else data


def _split(joined: bytes) -> list[bytes]:
    parts = joined.split(SEPARATOR)
    if ESCAPE in joined:
        return [base64.b64decode(p[1:]) if p.startswith(ESCAPE) else p for p in parts]
    return parts


def _split_keys(joined: bytes) -> list[bytes | None]:
    escaped = ((p, p.startswith(ESCAPE)) for p in joined.split(SEPARATOR))
    return [None if p == ESCAPE else base64.b64decode(p[1:]) if marked else p for p, marked in escaped]


def _headers(packed: bytes) -> Headers | None:
    if not packed:
        return None
    return {name: base64.b64decode(value or "") for name, value in orjson.loads(packed).items()}


def _packed_headers(headers: Headers | None) -> bytes:
    if not headers:
        return b""
    return orjson.dumps({name: base64.b64encode(value).decode() for name, value in headers.items()})
