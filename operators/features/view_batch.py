"""Feature views over history: the engine of the stream, key by key, without state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.features.feature_outputs import FeatureOutputs
from operators.features.feature_rows import events_of
from operators.flink_internals import current_key
from operators.key_groups import KeyGroups
from operators.timers import END_OF_INPUT
from udfs.features.base import END, no_state
from udfs.features.engine import ViewEngine
from udfs.features.events.view_spec import ViewSpec
from udfs.stores.history.events import HistorySpec


class ViewBatch(KeyedProcessFunction):
    """Values of EVENT_BATCH by part, in the order of their time slices, as Flink sorts them in batch: one key
    after the other, and at the end of each the watermark is infinite. Outputs as the stream's.

    A time slice becomes final when a newer one comes. Should an older one come, the engine would refuse its
    events as late; they would be dead letters and not silently missing.
    """

    def __init__(self, spec: ViewSpec, history: HistorySpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._spec, self._history, self._keys = spec, history, groups.keys_of_parts(history.parts)
        self._opened: FeatureOutputs | None = None

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._outputs = self._opened = FeatureOutputs(self._spec, self._keys, self._history.pieces)
        self._engines: dict[str, dict[str, ViewEngine]] = {}

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        view, events = events_of(value)
        engines = self._engines.setdefault(current_key(ctx), {})
        if not engines:
            ctx.timer_service().register_event_time_timer(END_OF_INPUT)
        if view not in engines:
            engines[view] = self._spec.engine(view, no_state, self._outputs.expressions)
        engine = engines[view]
        yield from self._outputs.rows(view, engine.advance(int(value[0]) - 1, _now()))
        yield from self._outputs.rows(view, engine.add(events), events)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        for view, engine in self._engines.pop(current_key(ctx), {}).items():
            yield from self._outputs.rows(view, engine.advance(END, _now()))


def _now() -> int:
    return time.time_ns() // 1_000_000
