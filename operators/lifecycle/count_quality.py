"""Quality of each data type: one instance counts what all instances settle, and tells what has changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from operators.code_guard import check_code, code_digest
from operators.flink_internals import change_map, current_key
from operators.key_groups import KeyGroups
from operators.lifecycle.outcome_rows import messages, settled_of
from operators.lifecycle.quality_gauges import QualityGauges
from operators.timers import KeyTimers
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.telling import KeptQuality, encode_windows


class CountQuality(KeyedProcessFunction):
    """Values of SETTLED, keyed by data type. Main output: OUTPUTS, `QualityRecord`s."""

    def __init__(self, spec: JoinSpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._spec, self._groups = spec, len(groups.keys)

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._sums = context.get_map_state(MapStateDescriptor("sums", Types.STRING(), pickled))
        self._windows = context.get_state(ValueStateDescriptor("windows", pickled))
        self._timers = KeyTimers(self._spec.told_ms)
        self._kept: dict[str, KeptQuality] = {}
        self._gauges = QualityGauges(context.get_metrics_group())

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        groups, settled_to, rows = settled_of(value)
        kept, now = self._of(ctx), _now()
        kept.settled(groups, settled_to)
        if rows is not None:
            change_map(self._sums, dict(kept.add(rows, now)))
        yield from ()

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        if current_key(ctx) not in self._spec.judged:  # of a savepoint from before it was no longer judged
            return
        key, kept, now = current_key(ctx), self._of(ctx), _now()
        ended = ctx.time_domain() == TimeDomain.EVENT_TIME
        if not ended and not self._timers.due(key, timestamp):
            return
        told = [*kept.close(now, self._sums.remove, ended), *kept.tell(now)]
        self._windows.update(encode_windows(kept.windows))
        self._gauges.tell(told)
        yield from messages(told)
        if not ended:
            self._timers.again(key, ctx.timer_service(), timestamp)

    def _of(self, ctx: Any) -> KeptQuality:
        key = current_key(ctx)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = self._spec.quality(key, self._groups)
            stored = self._windows.value()
            sums = ((str(name), bytes(data)) for name, data in self._sums.items())
            found.restore(None if stored is None else bytes(stored), sums, _now())
            self._timers.start(key, ctx.timer_service())
        return found


def _now() -> int:
    return time.time_ns() // 1_000_000
