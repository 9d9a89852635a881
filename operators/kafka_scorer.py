"""Records read where they are scored: a block goes from the broker to the model without crossing the JVM."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from operators.block_row import to_rows
from operators.keyed_scorer import KeyedScorer
from operators.keyed_table import current_key
from udfs.partition_reader import PartitionReader, TopicReading
from udfs.scoring_spec import ScoringSpec

_NEVER = 2**63 - 1  # a lane may have no partition, or none yet
# How long a turn of all keys may go on: checkpoints and models wait meanwhile. In process mode each turn
# costs some milliseconds of round trips, which more records share.
_TURN_S = {"thread": 0.05, "process": 0.2}


class KafkaScorer(KeyedScorer):
    """Ticks on input 1, descriptors on input 2, both keyed as in `KeyedScorer`.

    Each key reads its own partitions, every `window_ms` or, with more there than a turn takes, at once. How
    far it is, is keyed state, written in the same turn as the results of those records go out: a
    checkpoint has either both or none of them.
    """

    def __init__(self, spec: ScoringSpec, reading: TopicReading, window_ms: int, mode: str) -> None:
        super().__init__(spec)
        self._reading, self._window_ms, self._turn_s = reading, window_ms, _TURN_S[mode]
        self._readers: dict[str, PartitionReader] = {}

    def open(self, context: RuntimeContext) -> None:
        super().open(context)
        self._positions = context.get_state(ValueStateDescriptor("positions", Types.PICKLED_BYTE_ARRAY()))
        self._readers = {}
        self._due: dict[str, int] = {}

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        super().close()

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        key = current_key(ctx)
        if key not in self._due:  # afterwards timers do it
            yield from to_rows(self._ready(key, self.data_type_of(key), ctx))
            yield from self._turn(key, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = current_key(ctx)
        reads = ctx.time_domain() == TimeDomain.PROCESSING_TIME
        if reads and timestamp >= self._due.get(key, 0):
            yield from to_rows(self._ready(key, self.data_type_of(key), ctx))
            yield from self._turn(key, ctx)
        if not reads or timestamp % self._spec.tick_ms == 0:
            yield from super().on_timer(timestamp, ctx)
            yield from self._look_after(key, ctx)

    def _turn(self, key: str, ctx: Any) -> Iterator[Any]:
        reader = self._readers.get(key) or self._open(key)
        end = time.monotonic() + self._turn_s / len(self._readers)
        if not reader.positions:
            self._due[key] = _NEVER
            return
        blocks = reader.read(self._spec.max_block)
        if blocks:
            while blocks:
                for block in blocks:
                    yield from to_rows(self._scorer.on_block(key, block))
                if time.monotonic() >= end:
                    break
                blocks = reader.read(self._spec.max_block)
            self._positions.update(reader.positions)
            self._keep(key, self.data_type_of(key))
        timers = ctx.timer_service()
        now, more = timers.current_processing_time(), bool(blocks)
        self._due[key] = now + 1 if more else (now // self._window_ms + 1) * self._window_ms
        timers.register_processing_time_timer(self._due[key])

    def _look_after(self, key: str, ctx: Any) -> Iterator[Any]:
        reader = self._readers.get(key)
        if reader is None:
            return
        reader.discover()
        reader.commit()
        if reader.positions and self._due[key] == _NEVER:
            yield from self._turn(key, ctx)

    def _open(self, key: str) -> PartitionReader:
        lane = int(key.split("/", 1)[0]) if self._spec.lanes else 0
        known = self._positions.value()
        reader = self._readers[key] = PartitionReader(self._reading, self.data_type_of(key), lane, known)
        if known is None:  # `latest` means now, and not after the next failure
            self._positions.update(reader.positions)
        return reader
