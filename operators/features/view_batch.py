"""Feature views over history: the engine of the stream, key by key, without state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.features.feature_outputs import FeatureOutputs
from operators.features.feature_rows import events_of
from operators.flink_internals import current_key
from operators.ticks import END_OF_INPUT
from udfs.features.base import END, ViewEngine
from udfs.features.events.view_spec import ViewSpec
from udfs.stores.history.events import HistorySpec


class ViewBatch(KeyedProcessFunction):
    """Values of EVENT_BLOCK by `VIEW/SHARD`, in the order of their stretches, as Flink sorts them in batch:
    one key after the other, and at the end of each the watermark is infinite. Outputs as the stream's.

    A stretch is settled when one that is newer comes. Should one come that is older, the engine would refuse
    its events as late; they would be dead letters and not silently missing.
    """

    def __init__(self, spec: ViewSpec, history: HistorySpec) -> None:
        self._spec, self._history = spec, history
        self._opened: FeatureOutputs | None = None

    def open(self, context: RuntimeContext) -> None:
        self._outputs = self._opened = FeatureOutputs(self._spec, self._history.pieces)
        self._engines: dict[str, ViewEngine] = {}

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        key, events = current_key(ctx), events_of(value)
        view, _, shard = key.rpartition("/")
        engine = self._engines.get(key)
        if engine is None:
            expressions = self._outputs.expressions
            engine = self._spec.engine(view, int(shard), lambda _: None, expressions)
            self._engines[key] = engine
            ctx.timer_service().register_event_time_timer(END_OF_INPUT)
        yield from self._outputs.rows(view, engine.settle(int(value[0]) - 1, _now()))
        yield from self._outputs.rows(view, engine.add(events), events)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = current_key(ctx)
        engine = self._engines.pop(key, None)
        if engine is not None:
            yield from self._outputs.rows(key.rpartition("/")[0], engine.settle(END, _now()))


def _now() -> int:
    return time.time_ns() // 1_000_000
