"""What one view takes of the events of its source: its steps run, and split by shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.features import Declarations, FeatureView
from udfs.features.functions import Steps
from udfs.features.sharding import Sharding

NULL_KEY, STEP_FAILED = "null_key", "step_failed"


@dataclass(frozen=True, slots=True)
class Split:
    """`parts`: shard and events. `refused`: row, code and reason."""

    parts: Sequence[tuple[int, pa.RecordBatch]]
    refused: Sequence[tuple[int, str, str]]


class ViewEvents:
    """Batches that hold the source's columns and those of `schemas.feature_block`, one after the other."""

    def __init__(self, view: FeatureView, declared: Declarations, shards: int) -> None:
        self.id, self._entity, self._sharding = view.id, view.entity, Sharding(view.entity, shards)
        self._steps = Steps(view, declared)

    def of(self, batch: pa.RecordBatch) -> Split:
        """Never raises for what an event holds: where a step fails, it is run on halves."""
        refused: list[tuple[int, str, str]] = []
        parts: list[tuple[int, pa.RecordBatch]] = []
        for start, stepped in self._stepped(batch, 0, refused):
            keep = np.ones(stepped.num_rows, bool)
            for name in self._entity:
                missing = stepped.column(name).is_null().to_numpy(zero_copy_only=False)
                for at in np.flatnonzero(missing & keep):
                    refused.append((start + int(at), NULL_KEY, f"view {self.id}: {name!r} is null"))
                keep &= ~missing
            good = stepped if keep.all() else stepped.filter(pa.array(keep))
            parts += self._split(good)
        return Split(parts, refused)

    def _stepped(
        self, batch: pa.RecordBatch, start: int, refused: list[tuple[int, str, str]]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Pieces of the batch, each with the row at which it starts."""
        if not batch.num_rows:
            return
        try:
            yield start, self._steps.apply(batch)
        except Exception as e:
            if batch.num_rows == 1:
                refused.append((start, STEP_FAILED, f"view {self.id}: {type(e).__name__} {e!s:.200}"))
                return
            half = batch.num_rows // 2
            yield from self._stepped(batch.slice(0, half), start, refused)
            yield from self._stepped(batch.slice(half), start + half, refused)

    def _split(self, batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        if not batch.num_rows:
            return
        shards = self._sharding.of(batch)
        order = np.argsort(shards, kind="stable")
        found, starts = np.unique(shards[order], return_index=True)
        if len(found) == 1:
            yield int(found[0]), batch
            return
        batch = batch.take(pa.array(order))
        for shard, start, end in zip(found, starts, [*starts[1:], len(order)], strict=True):
            yield int(shard), batch.slice(start, end - start)
