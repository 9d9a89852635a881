"""Entities in memory: each has a slot, by which everything else finds what it knows of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from udfs.features.base import Entity
from udfs.features.sharding import entity_codes


class Slots:
    """Entity <-> slot. Slots of dropped entities are used again."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._of: dict[Entity, int] = {}
        self._free: list[int] = []
        self.entities: list[Entity | None] = []

    def __len__(self) -> int:
        """How many entities are in memory."""
        return len(self._of)

    def find(self, batch: pa.RecordBatch) -> tuple[NDArray[np.int64], list[int]]:
        """The slot of each of n rows, and those that are new."""
        codes, entities = entity_codes(batch, self._columns)
        slots, new = self.take(entities)
        return (slots[codes] if len(codes) else codes), new

    def take(self, entities: Iterable[Entity]) -> tuple[NDArray[np.int64], list[int]]:
        slots, new = [], []
        for entity in entities:
            slot = self._of.get(entity)
            if slot is None:
                slot = self._add(entity)
                new.append(slot)
            slots.append(slot)
        return np.array(slots, np.int64), new

    def drop(self, slot: int) -> Entity:
        entity = self.entities[slot]
        assert entity is not None
        del self._of[entity]
        self.entities[slot] = None
        self._free.append(slot)
        return entity

    def _add(self, entity: Entity) -> int:
        if self._free:
            slot = self._free.pop()
            self.entities[slot] = entity
        else:
            slot = len(self.entities)
            self.entities.append(entity)
        self._of[entity] = slot
        return slot
