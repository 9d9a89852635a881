"""What one view takes of the events of its source: its steps run that need no reference; split by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.features.declarations import Declarations, FeatureView
from udfs.features.entity_keys import Spread
from udfs.features.expressions import Expressions
from udfs.features.steps import STEP_FAILED, Failed, steps_before

NULL_KEY = "null_key"


@dataclass(frozen=True, slots=True)
class Split:
    """`parts`: number of the part and events. `refused`: row, code and reason."""

    parts: Sequence[tuple[int, pa.RecordBatch]]
    refused: Sequence[tuple[int, str, str]]


class ViewEvents:
    """Batches that hold the source's columns and those of `schemas.features.feature_batch`, one after the
    other. `groups`, `parts`: see `udfs.features.entity_keys.Spread`."""

    def __init__(
        self,
        view: FeatureView,
        declared: Declarations,
        expressions: Expressions,
        groups: int = 1,
        parts: int = 1,
    ) -> None:
        self.id, self._entity, self._spread = view.id, view.entity, Spread(view.entity, groups, parts)
        self._steps = steps_before(view, declared, expressions)

    def of(self, batch: pa.RecordBatch) -> Split:
        """Never raises for what an event holds."""
        refused: list[tuple[int, str, str]] = []
        parts: list[tuple[int, pa.RecordBatch]] = []
        for found in self._steps.in_halves(batch):
            if isinstance(found, Failed):
                refused.append((found.row, STEP_FAILED, f"view {self.id}: {found.reason}"))
                continue
            start, stepped = found
            keep = np.ones(stepped.num_rows, bool)
            for name in self._entity:
                missing = stepped.column(name).is_null().to_numpy(zero_copy_only=False)
                for at in np.flatnonzero(missing & keep):
                    refused.append((start + int(at), NULL_KEY, f"view {self.id}: {name!r} is null"))
                keep &= ~missing
            good = stepped if keep.all() else stepped.filter(pa.array(keep))
            parts += self._split(good)
        return Split(parts, refused)

    def _split(self, batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        if not batch.num_rows:
            return
        parts = self._spread.of(batch)
        order = np.argsort(parts, kind="stable")
        found, starts = np.unique(parts[order], return_index=True)
        if len(found) == 1:
            yield int(found[0]), batch
            return
        batch = batch.take(pa.array(order))
        for part, start, end in zip(found, starts, [*starts[1:], len(order)], strict=True):
            yield int(part), batch.slice(start, end - start)
