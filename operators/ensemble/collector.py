"""Where the answers of candidates meet what is expected of them, and micro-batches are decided."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

from pyflink.datastream import TimeDomain, TimerService
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.ensemble.batch_store import KeyedBatchStore
from operators.ensemble.speculation_rows import answers_of, context_of
from operators.flink_internals import current_key, instance_of
from operators.rows import to_rows
from operators.timers import KeyTimers
from udfs.ensemble.collection.collector_spec import CollectorSpec
from udfs.ensemble.collection.open_batch import id_of
from udfs.ensemble.execution.clock import Clock


class Collector(KeyedCoProcessFunction):
    """Decision contexts on input 1, answers on input 2, both under the key of the router's instance.

    Main output: OUTPUTS; side outputs: DEAD_LETTERS, MODEL_STATS.
    """

    def __init__(self, spec: CollectorSpec, clock: Clock | None = None) -> None:
        self._code = code_digest()
        self._spec, self._clock = spec, clock or Clock()

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._collecting = self._spec.collecting(instance_of(context)[0])
        self._store = KeyedBatchStore(context, self._clock.epoch)
        self._timers = KeyTimers(self._spec.stats_ms)
        self._known: set[str] = set()

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        context, batch = context_of(value)
        batch_id, key, timers = id_of(context), current_key(ctx), ctx.timer_service()
        yield from self._ready(key, timers)
        self._store.at(key, batch_id, timers)
        yield from to_rows(self._collecting.expect(batch_id, context, batch, self._store))

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        key, timers = current_key(ctx), ctx.timer_service()
        yield from self._ready(key, timers)
        for batch_id, came in groupby(answers_of(value), attrgetter("batch_id")):
            self._store.at(key, batch_id, timers)
            yield from to_rows(self._collecting.answer(batch_id, list(came), self._store))

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        key, timers = current_key(ctx), ctx.timer_service()
        yield from self._ready(key, timers)
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            for batch_id in self._store.open():
                self._store.at(key, batch_id, timers)
                yield from to_rows(self._collecting.ended(batch_id, self._store))
            yield from to_rows(self._collecting.stats())
            return
        reached = max(timestamp, int(self._clock.epoch()))  # late: all that is overdue in one call
        for batch_id in self._store.due(key, reached):
            self._store.at(key, batch_id, timers, reached)
            yield from to_rows(self._collecting.woken(batch_id, self._store))
        self._store.again(key, reached, timers)
        if self._timers.due(key, timestamp):
            yield from to_rows(self._collecting.stats())
            self._timers.again(key, timers, timestamp)

    def _ready(self, key: str, timers: TimerService) -> Iterator[Any]:
        """At the first call for a key after a start: what was open is woken, which decides what is overdue
        and sets timers for the rest."""
        self._timers.start(key, timers)
        if key in self._known:
            return
        self._known.add(key)
        for batch_id in self._store.open():
            self._store.at(key, batch_id, timers)
            yield from to_rows(self._collecting.restored(batch_id, self._store))
