"""Feature views: the pure engines of an instance with their state, their timers and their outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.datastream import TimerService
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.event_watermark import is_mark
from operators.features.feature_outputs import FeatureOutputs
from operators.features.feature_rows import events_of, is_complete
from operators.features.view_state import ViewState
from operators.flink_internals import current_key, instance_of
from operators.key_groups import KeyGroups
from operators.timers import END_OF_INPUT
from udfs.features.engine import ViewEngine
from udfs.features.events.view_spec import ViewSpec


class ViewOperator(KeyedProcessFunction):
    """Values of EVENT_BATCH under the key of the instance, behind watermarks in event time.

    Outputs: see `operators.features.feature_outputs`. What has become final leaves before the
    watermark that made it so: the views that read it go by Flink's own watermark. Changes are written on
    marks, and until the next events at each call: see "State" in docs/features.md.
    """

    def __init__(self, spec: ViewSpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._spec, self._groups = spec, groups
        self._opened: FeatureOutputs | None = None

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        _, parallelism = instance_of(context)
        self._state = ViewState(context, self._groups)
        self._outputs = self._opened = FeatureOutputs(self._spec, self._groups.keys_of_parts(parallelism))
        self._engines: dict[str, ViewEngine] = {}
        self._reached, self._timer, self._marked = -(2**63), END_OF_INPUT, False

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        key, timers = current_key(ctx), ctx.timer_service()
        yield from self._begun(timers)
        yield from self._advance(timers.current_watermark())
        self._marked = is_mark(value)
        if is_complete(value):
            for view, engine in self._engines.items():
                yield from self._outputs.rows(view, engine.complete())
        elif not self._marked:
            view, events = events_of(value)
            yield from self._outputs.rows(view, self._engines[view].add(events), events)
        yield from self._done(key, timers)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        key, timers = current_key(ctx), ctx.timer_service()
        yield from self._begun(timers)
        if timestamp >= self._timer:
            self._timer = END_OF_INPUT
        yield from self._advance(timers.current_watermark())
        yield from self._done(key, timers)

    def _begun(self, timers: TimerService) -> Iterator[Any]:
        if self._engines:
            return
        timers.register_event_time_timer(END_OF_INPUT)
        headers, created = self._state.headers(), _now()
        for view in self._spec.views:
            fetch = self._state.fetch(view)
            engine = self._spec.engine(view, fetch, self._outputs.expressions, complete=False)
            self._engines[view] = engine
            for output in engine.load(headers.get(view, []), created):
                yield from self._outputs.rows(view, output)

    def _advance(self, watermark: int) -> Iterator[Any]:
        reached = self._spec.reached(watermark)
        if reached <= self._reached:
            return
        self._reached, created = reached, _now()
        for view, engine in self._engines.items():
            yield from self._outputs.rows(view, engine.advance(reached, created))

    def _done(self, key: str, timers: TimerService) -> Iterator[Any]:
        if self._marked:
            for view, engine in self._engines.items():
                self._state.write(view, engine.changes())
            yield from self._outputs.marks()
        else:
            for view, engine in self._engines.items():
                most = max(self._spec.written, len(engine) - self._spec.resident)
                self._state.write(view, engine.changes(most))
        for engine in self._engines.values():
            engine.evict(self._spec.resident)
        self._state.sweep(self._reached)
        self._state.groups.leave(key)
        times = (engine.next_time() for engine in self._engines.values())
        following = min((time for time in times if time is not None), default=END_OF_INPUT)
        if (due := self._spec.due(following)) < self._timer:
            self._timer = due
            timers.register_event_time_timer(due)


def _now() -> int:
    return time.time_ns() // 1_000_000
