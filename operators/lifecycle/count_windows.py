"""Micro-batches as partial sums of windows, with how far the source has been read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor

from operators.code_guard import check_code, code_digest
from operators.event_watermark import IDLE, START_MS, timed_row, watermark_row
from operators.flink_internals import current_key
from operators.timers import END_OF_INPUT, KeyTimers
from schemas.micro_batch import beat_ms, decode_micro_batch
from udfs.features.events.acceptable import EARLIEST
from udfs.lifecycle.watching.series import write_partial
from udfs.lifecycle.watching.window_counting import CountSpec, WindowCounting

_MOST_PARTIAL = 64
"""Partial sums that an instance holds: with more, which many windows at once make, it sends them."""


class CountWindows(KeyedProcessFunction):
    """Micro-batches and beats under the key of the instance that read them; main output TIMED_BATCH,
    partial sums by series.

    What is counted and not yet sent lies in state as the micro-batches that it came from: appending their
    bytes costs little, and sums of many features are large. Sending the sums and clearing the journal are one
    call, so that a checkpoint has either. After a restart the journal is counted again. How far the source
    has been read is not state: it begins anew.
    """

    def __init__(self, spec: CountSpec) -> None:
        self._code = code_digest()
        self._spec = spec

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._journal = context.get_list_state(ListStateDescriptor("journal", Types.PICKLED_BYTE_ARRAY()))
        self._training = self._spec.training_sets()
        self._progress = self._spec.progress()
        self._timers = KeyTimers(self._spec.flush_ms)
        self._counted = dict[str, WindowCounting]()
        self._bytes = dict[str, int]()
        self._sent = EARLIEST

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        key, data = current_key(ctx), bytes(value)
        self._timers.start(key, ctx.timer_service())
        if passed := beat_ms(data):
            self._progress.passed(passed)
            return
        counted = self._of(key)
        self._journal.add(data)
        self._bytes[key] += len(data)
        for partition, newest in counted.add(decode_micro_batch(data), _now()).items():
            self._progress.heard(partition, newest)
        if self._bytes[key] >= self._spec.flush_bytes or len(counted) > _MOST_PARTIAL:
            yield from self._flush(key)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = current_key(ctx)
        self._of(key)
        yield from self._flush(key)
        if timestamp != END_OF_INPUT and self._timers.runs(key):  # else it was another instance's key
            self._timers.again(key, ctx.timer_service(), timestamp)

    def _of(self, key: str) -> WindowCounting:
        """What is counted under the current key; the first time, what its journal holds."""
        found = self._counted.get(key)
        if found is None:
            found = self._counted[key] = self._spec.counting(self._training)
            self._bytes[key] = 0
            for entry in self._journal.get() or ():
                found.add(decode_micro_batch(bytes(entry)), _now())
        return found

    def _flush(self, key: str) -> Iterator[Any]:
        """What was counted, behind the watermark that was sent before, and then what it adds to it."""
        for series, partial in self._counted[key].take():
            yield timed_row(series.key, self._sent, write_partial(partial))
        self._journal.clear()
        self._bytes[key] = 0
        reached = self._progress.watermark()
        if reached is not None and reached > self._sent:
            self._sent = reached
            yield watermark_row(reached)
        if self._progress.is_idle(START_MS):
            yield watermark_row(IDLE)


def _now() -> int:
    return time.time_ns() // 1_000_000
