"""Where Redis keeps features, as Feast does (entity key serialisation 3): keys of hashes and their fields."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import FeatureError, StoreError
from schemas.features.declarations import FeatureType
from udfs.stores.online.base import StoredView
from udfs.stores.online.small_batch import SMALL
from udfs.stores.online.values import join, ragged, to_list

_TEXT, _INT64 = 2, 4
"""Of feast.types.ValueType."""

_KEYS = (FeatureType.STRING, FeatureType.INT64, FeatureType.TIMESTAMP)


class KeyLayout:
    """Keys of a view's entities: names and values in the order of the names, then the project.

    Raises `FeatureError` for an entity column of a type that cannot be part of a key.
    """

    def __init__(self, view: StoredView, project: str) -> None:
        for name, kind in view.entity:
            if kind not in _KEYS:
                raise FeatureError(f"view {view.id}: {name} is {kind}, which cannot be part of a key")
        self._view = view.id
        self._order = sorted(view.entity)
        names = [name.encode() for name, _ in self._order]
        head = [struct.pack("<I", len(names)), *(struct.pack("<II", _TEXT, len(n)) + n for n in names)]
        self._head, self._tail = b"".join(head), project.encode()

    def keys(self, columns: dict[str, pa.Array]) -> list[bytes]:
        """The keys of n entities, of their columns by name. Raises `StoreError` where one has no value."""
        few = len(columns[self._order[0][0]]) <= SMALL
        parts: list[Any] = []
        for name, kind in self._order:
            column = columns[name]
            if column.null_count:
                raise StoreError(f"view {self._view}: an entity's {name} is null; a key needs a value")
            if few:
                parts.append(map(_text if kind is FeatureType.STRING else _integer, column.to_pylist()))
            else:
                parts += _texts(column) if kind is FeatureType.STRING else [_integers(column)]
        if few:
            return [self._head + b"".join(values) + self._tail for values in zip(*parts, strict=True)]
        head, tail = pa.scalar(self._head, pa.binary()), pa.scalar(self._tail, pa.binary())
        return to_list(join(head, *parts, tail))

    def keys_of(self, entities: Sequence[tuple[object, ...]], names: Sequence[str]) -> list[bytes]:
        """The same of entity tuples, whose values come in the order of `names`."""
        if not entities:
            return []
        types = {n: pa.string() if k is FeatureType.STRING else pa.int64() for n, k in self._order}
        try:
            each = zip(*entities, strict=True)
            columns = {n: pa.array(v, types[n]) for n, v in zip(names, each, strict=True)}
        except (ValueError, TypeError, OverflowError) as e:  # Arrow's own errors are both of the former
            raise StoreError(
                f"view {self._view}: entities are no tuples of ({', '.join(names)}): {e}"
            ) from None
        return self.keys(columns)


def field(view: str, feature: str) -> bytes:
    """The field of a feature: 4 bytes, murmur3_32 of `VIEW:FEATURE`, little-endian."""
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


def time_field(view: str) -> bytes:
    """The field of the event time of a view's row."""
    return f"_ts:{view}".encode()


def fields(view: StoredView, features: Sequence[str]) -> list[bytes]:
    """The time's field, then those of `features`. Raises `FeatureError` where two names share a field."""
    found = [time_field(view.id), *(field(view.id, name) for name in features)]
    if len(set(found)) != len(set(features)) + 1:
        raise FeatureError(f"view {view.id}: two features have the same field in Redis; rename one of them")
    return found


def _integer(value: int) -> bytes:
    return struct.pack("<IIq", _INT64, 8, value)


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<II", _TEXT, len(data)) + data


def _integers(column: pa.Array) -> pa.BinaryArray:
    matrix = np.empty((len(column), 16), np.uint8)
    matrix[:, :8] = np.frombuffer(struct.pack("<II", _INT64, 8), np.uint8)
    matrix[:, 8:] = np.ascontiguousarray(column.to_numpy(), "<i8").view(np.uint8).reshape(-1, 8)
    return ragged(matrix, np.full(len(column), 16))


def _texts(column: pa.Array) -> list[pa.Array]:
    lengths = pc.binary_length(column).to_numpy()
    head = np.empty((len(column), 2), "<u4")
    head[:, 0], head[:, 1] = _TEXT, lengths
    return [ragged(head.view(np.uint8), np.full(len(column), 8)), column.cast(pa.binary())]
