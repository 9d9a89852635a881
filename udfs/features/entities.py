"""Entities in memory: each has a row in the arrays of what is known of entities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from udfs.features.base import Entity
from udfs.features.entity_keys import entity_codes


class RowIndex:
    """Entity <-> row index. Rows of dropped entities are used again."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._of: dict[Entity, int] = {}
        self._free: list[int] = []
        self.entities: list[Entity | None] = []

    def __len__(self) -> int:
        """How many entities are in memory."""
        return len(self._of)

    def find(self, batch: pa.RecordBatch) -> tuple[NDArray[np.int64], list[int]]:
        """The row of the entity of each of n events, and those that are new."""
        codes, entities = entity_codes(batch, self._columns)
        rows, new = self.take(entities)
        return (rows[codes] if len(codes) else codes), new

    def take(self, entities: Iterable[Entity]) -> tuple[NDArray[np.int64], list[int]]:
        rows, new = [], []
        for entity in entities:
            row = self._of.get(entity)
            if row is None:
                row = self._add(entity)
                new.append(row)
            rows.append(row)
        return np.array(rows, np.int64), new

    def drop(self, row: int) -> Entity:
        entity = self.entities[row]
        assert entity is not None
        del self._of[entity]
        self.entities[row] = None
        self._free.append(row)
        return entity

    def _add(self, entity: Entity) -> int:
        if self._free:
            row = self._free.pop()
            self.entities[row] = entity
        else:
            row = len(self.entities)
            self.entities.append(entity)
        self._of[entity] = row
        return row
