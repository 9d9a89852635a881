"""An engine's state as bytes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from schemas.errors import StoreError
from schemas.features.declarations import FeatureView, Reference, meaning
from schemas.features.feature_batch import from_bytes, to_bytes
from udfs.features.base import Entity
from udfs.features.entity_keys import pack_entity
from udfs.features.windows import WindowState

_VERSION = 2
_ENTITY = struct.Struct("<BBq")
"""Version, whether it is above its limit, and the event time from which on it is empty."""
NOTHING = -(2**63)
"""The newest final event's time where there is none."""
_LENGTH = struct.Struct("<I")


class _Header(msgspec.Struct, array_like=True):
    version: int
    view: str
    computes: bytes
    watermark: int
    pending: bytes
    alarms: dict[bytes, int]
    newest: int


@dataclass(frozen=True, slots=True)
class GroupHeader:
    """A key group's own state: see `udfs.features.base.Changes`. `newest`: time of the newest final event,
    which references may not have come after."""

    watermark: int
    pending: pa.RecordBatch | None
    alarms: Mapping[bytes, int]
    newest: int


def empty_from(packed: bytes) -> int:
    """The event time from which on a packed entity is empty, and may be forgotten without having been looked
    at."""
    return int(_ENTITY.unpack_from(packed)[2])


class Saved:
    """Packs and unpacks the state of one view."""

    def __init__(
        self, view: FeatureView, states: Sequence[WindowState], references: Sequence[Reference] = ()
    ) -> None:
        self._view, self._states = view, states
        means = meaning(view)
        what: tuple[object, ...] = (means.entity, means.source, means.features, means.steps, means.emit)
        if references:
            what += ([(r.name, r.columns, r.key, r.event_time, r.deleted) for r in references],)
        self._computes = hashlib.sha256(msgspec.json.encode(what)).digest()[:8]

    def key(self, entity: Entity | None) -> bytes:
        assert entity is not None
        return pack_entity(entity)

    def pack_entity(
        self, entity: Entity, row_index: int, above: bool, watermark: int
    ) -> tuple[bytes, bytes | None]:
        empty_at = max((s.store.empty_at(row_index) for s in self._states), default=0)
        if empty_at <= watermark:
            return pack_entity(entity), None
        parts = [_ENTITY.pack(_VERSION, above, empty_at)]
        for state in self._states:
            packed = state.store.pack(row_index)
            parts += [_LENGTH.pack(len(packed)), packed]
        return pack_entity(entity), b"".join(parts)

    def unpack_entity(self, row_index: int, data: bytes) -> bool:
        """Whether the entity was above its limit. Raises `StoreError` where the state is newer."""
        if data[0] != _VERSION:
            raise StoreError(f"state of view {self._view.id} has format {data[0]}, this reads {_VERSION}")
        at = _ENTITY.size
        for state in self._states:
            (length,) = _LENGTH.unpack_from(data, at)
            state.store.unpack(row_index, data[at + 4 : at + 4 + length])
            at += 4 + length
        return bool(data[1])

    def pack_header(self, header: GroupHeader) -> bytes:
        events = to_bytes(header.pending) if header.pending is not None else b""
        return msgspec.msgpack.encode(
            _Header(
                _VERSION,
                self._view.id,
                self._computes,
                header.watermark,
                events,
                dict(header.alarms),
                header.newest,
            )
        )

    def unpack_header(self, data: bytes) -> GroupHeader:
        """Raises `StoreError` where it is another view's, or newer."""
        try:
            header = _HEADER_DECODER.decode(data)
        except (msgspec.ValidationError, msgspec.DecodeError) as e:
            raise StoreError(f"state of view {self._view.id} cannot be read: {e}") from None
        if header.version != _VERSION:
            raise StoreError(
                f"state of view {self._view.id} has format {header.version}, this reads {_VERSION}"
            )
        if (header.view, header.computes) != (self._view.id, self._computes):
            raise StoreError(
                f"state of view {header.view} was computed by another declaration than {self._view.id} has "
                "now: give the changed view a new version"
            )
        pending = from_bytes(header.pending) if header.pending else None
        return GroupHeader(header.watermark, pending, header.alarms, header.newest)


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_HEADER_DECODER = msgspec.msgpack.Decoder(_Header)
