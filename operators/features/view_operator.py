"""Feature views over shards: the pure engine with its state, its timers and its outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyflink.datastream import TimerService
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.features.feature_outputs import FeatureOutputs
from operators.features.feature_rows import events_of
from operators.features.shard_state import ShardState
from operators.flink_internals import current_key
from operators.ticks import END_OF_INPUT
from udfs.features.base import ViewEngine
from udfs.features.events.view_spec import ViewSpec


@dataclass(slots=True)
class _Shard:
    view: str
    engine: ViewEngine
    settled: int
    timer: int = END_OF_INPUT


class ViewOperator(KeyedProcessFunction):
    """Values of EVENT_BLOCK, keyed by `VIEW/SHARD`, behind watermarks in event time.

    Outputs: see `operators.features.feature_outputs`. What is settled leaves before the watermark that
    settled it: so the views that read it go by Flink's own watermark.
    """

    def __init__(self, spec: ViewSpec) -> None:
        self._spec = spec
        self._opened: FeatureOutputs | None = None

    def open(self, context: RuntimeContext) -> None:
        self._state = ShardState(context, self._spec.shards)
        self._shards = dict[str, _Shard]()
        self._outputs = self._opened = FeatureOutputs(self._spec)

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        key, timers = current_key(ctx), ctx.timer_service()
        shard, events = self._shard(key, timers), events_of(value)
        yield from self._settle(key, shard, timers.current_watermark())
        self._state.add(key, events)
        yield from self._outputs.rows(shard.view, shard.engine.add(events), events)
        self._done(key, shard, timers)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        key, timers = current_key(ctx), ctx.timer_service()
        shard = self._shard(key, timers)
        if timestamp >= shard.timer:
            shard.timer = END_OF_INPUT
        yield from self._settle(key, shard, timers.current_watermark())
        self._done(key, shard, timers)

    def _shard(self, key: str, timers: TimerService) -> _Shard:
        found = self._shards.get(key)
        if found is None:
            view, _, number = key.rpartition("/")
            fetch, expressions = self._state.fetch, self._outputs.expressions
            engine = self._state.restore(
                key, lambda: self._spec.engine(view, int(number), fetch, expressions)
            )
            found = self._shards[key] = _Shard(view, engine, -(2**63))
            timers.register_event_time_timer(END_OF_INPUT)
        return found

    def _settle(self, key: str, shard: _Shard, watermark: int) -> Iterator[Any]:
        reached = self._spec.reached(watermark)
        if reached <= shard.settled:
            return
        shard.settled, created = reached, time.time_ns() // 1_000_000
        self._state.settle(key, reached, created)
        yield from self._outputs.rows(shard.view, shard.engine.settle(reached, created))

    def _done(self, key: str, shard: _Shard, timers: TimerService) -> None:
        following = shard.engine.next_time()
        if following is not None and (due := self._spec.due(following)) < shard.timer:
            shard.timer = due
            timers.register_event_time_timer(due)
        if self._state.overdue(key, self._spec.flush_bytes, self._spec.flush_ms):
            self._state.flush(key, shard.engine)
            self._state.sweep(key, shard.settled)
            shard.engine.evict(self._spec.resident)
