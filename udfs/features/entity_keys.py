"""An entity's key as bytes, and its key group. Neither may ever change: state is found by them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import mmh3
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import FeatureError
from udfs.features.base import Entity
from udfs.features.row_codes import row_codes

_INT, _TEXT = 0, 1
_KNOWN = 1_000_000


def pack_entity(entity: Entity) -> bytes:
    """One byte for the type, then 8 bytes (little-endian), or the length in 4 and UTF-8; for each value."""
    parts = []
    for value in entity:
        if isinstance(value, str):
            text = value.encode()
            parts.append(struct.pack("<BI", _TEXT, len(text)) + text)
        else:
            parts.append(struct.pack("<Bq", _INT, value))
    return b"".join(parts)


def unpack_entity(data: bytes) -> Entity:
    """The inverse of `pack_entity`."""
    values: list[str | int] = []
    at = 0
    while at < len(data):
        if data[at] == _TEXT:
            (length,) = struct.unpack_from("<I", data, at + 1)
            at += 5 + length
            values.append(data[at - length : at].decode())
        else:
            values.append(struct.unpack_from("<q", data, at + 1)[0])
            at += 9
    return tuple(values)


def entity_codes(batch: pa.RecordBatch, columns: Sequence[str]) -> tuple[NDArray[np.int64], list[Entity]]:
    """Of n rows: the entity of each as an index into the different ones, and these.

    Raises `FeatureError` where an entity column is null.
    """
    return row_codes([_column(batch, name) for name in columns])


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    column = batch.column(name)
    if column.null_count:
        raise FeatureError(f"entity column {name!r} is null in {column.null_count} of {len(column)} events")
    return column


def key_group(packed: bytes, groups: int) -> int:
    """Of a packed entity or another key: murmur3 (x86, 32 bits, unsigned) modulo the number of key groups."""
    return int(mmh3.hash(packed, signed=False) % groups)


def part_of(group: int, groups: int, parts: int) -> int:
    """Which of as many instances, or parts, a key group belongs to, as Flink gives them out."""
    return group * parts // groups


class Spread:
    """Which of `parts` entities go to: instances, of which each has a range of the `groups` key groups, as
    Flink gives them out; or parts of such ranges."""

    def __init__(self, columns: Sequence[str], groups: int, parts: int) -> None:
        self._columns, self._groups, self._parts = tuple(columns), groups, parts
        self._known: dict[Entity, int] = {}  # most entities come again

    def of(self, batch: pa.RecordBatch) -> NDArray[np.int32]:
        """Of each row. Raises `FeatureError` where an entity column is null."""
        if self._parts == 1:
            return np.zeros(batch.num_rows, np.int32)
        codes, entities = entity_codes(batch, self._columns)
        if not entities:
            return np.zeros(0, np.int32)
        known = self._known
        if len(known) > _KNOWN:
            known.clear()
        found = []
        for entity in entities:
            part = known.get(entity)
            if part is None:
                group = key_group(pack_entity(entity), self._groups)
                part = known[entity] = part_of(group, self._groups, self._parts)
            found.append(part)
        return np.array(found, np.int32)[codes]
