"""How much and how fast one loaded model scores."""

from __future__ import annotations

import time

from datasketches import kll_doubles_sketch

from schemas.results.records import ModelToServeStats
from udfs.models.loaded_model import ModelStamp

_SKETCH_K = 200  # about 1.3 % rank error, a few KB


class Usage:
    """Counts of one model since it was switched on; quantiles by a KLL sketch (Karnin et al., 2016)."""

    def __init__(self, stamp: ModelStamp, subtask: int) -> None:
        self._stamp = stamp
        self._subtask = subtask
        self._since = time.time_ns() // 1_000_000
        self._sketch = kll_doubles_sketch(_SKETCH_K)
        self._usage = self._blocks = self._failures = 0
        self._total = 0.0
        self._declined = self._abandoned = self._stuck = self._left = 0
        self._changed = True

    def add(self, records: int, failures: int, ms: float) -> None:
        """One batch: how many records went in, how many of them failed, and the milliseconds it took."""
        self._usage += records
        self._failures += failures
        self._blocks += 1
        self._total += ms
        self._sketch.update(ms)
        self._changed = True

    def declined(self) -> None:
        """A request that the model was not asked about."""
        self._declined += 1
        self._changed = True

    def abandoned(self, calls: int, stuck: int) -> None:
        """So many calls were abandoned in all, and so many of their threads are stuck now."""
        self._changed = self._changed or (calls, stuck) != (self._abandoned, self._stuck)
        self._abandoned, self._stuck = calls, stuck

    def left(self, records: int) -> None:
        """So many records are other jobs' to score."""
        self._left += records
        self._changed = True

    def changed(self) -> bool:
        """Whether there is news since the last `stats`."""
        return self._changed

    def stats(self, serving: bool = True) -> ModelToServeStats:
        self._changed = False
        low, p50, p99, high = (0.0, 0.0, 0.0, 0.0)
        if self._blocks:
            sketch = self._sketch
            low, high = sketch.get_min_value(), sketch.get_max_value()
            p50, p99 = sketch.get_quantile(0.5), sketch.get_quantile(0.99)
        stamp = self._stamp
        return ModelToServeStats(
            name=stamp.name,
            description=stamp.description,
            data_type=stamp.data_type,
            model_type=stamp.model_type,
            version=stamp.version,
            digest=stamp.digest,
            since=self._since,
            at=time.time_ns() // 1_000_000,
            subtask=self._subtask,
            usage=self._usage,
            batches=self._blocks,
            failures=self._failures,
            duration_ms=self._total,
            min_ms=low,
            max_ms=high,
            p50_ms=p50,
            p99_ms=p99,
            serving=serving,
            declined=self._declined,
            fenced=self._abandoned,
            stuck=self._stuck,
            left=self._left,
        )
