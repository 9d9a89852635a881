"""Micro-batches of records as batches of events, with how far each source has been read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.event_watermark import IDLE, START_MS, mark_row, watermark_row
from operators.features.feature_rows import event_row, events_tag, progress_tag
from operators.flink_internals import current_key, instance_of
from operators.key_groups import KeyGroups
from operators.rows import to_rows
from operators.timers import END_OF_INPUT, KeyTimers
from schemas.micro_batch import MicroBatch, beat_ms, decode_micro_batch
from udfs.features.events.acceptable import EARLIEST
from udfs.features.events.decode_spec import DecodeSpec
from udfs.features.events.decoder import EventDecoder
from udfs.features.expressions import Expressions


class DecodeEvents(KeyedProcessFunction):
    """Micro-batches of records, marks and beats, under the key of the instance that read them.

    No main output. Side outputs: `events_tag(STREAM)`, DEAD_LETTERS, and `progress_tag(SOURCE)` where views
    have references. A row of events carries the watermark that was sent before them, so that no event is
    late for its own batch's sake; what they add follows in a row of its own, at most each
    `watermark_step_ms`, and one that says so when all partitions have been silent. To those that wait for its
    rows it is as silent when one of its outputs is held up; and to this operator's own clock its source is,
    while barriers are aligned. So beats say how much time has passed where records are read. Progress is not
    state: after a restart it begins anew, and what is final in the views stays so. A mark goes on to every
    instance of the views, and says beside how far this one is. The first is sent at the start, so that each
    of them takes up its state.
    """

    def __init__(self, spec: DecodeSpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._spec, self._groups = spec, groups
        self._opened: Expressions | None = None

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._expressions = self._opened = Expressions()
        self._decoders = dict[str, EventDecoder]()
        self._progress = {name: self._spec.progress(name) for name in self._spec.sources}
        self._streams = {name: self._spec.streams(name) for name in self._spec.sources}
        self._tags = {v: events_tag(s.name) for of in self._streams.values() for s in of for v in s.views}
        instance, parallelism = instance_of(context)
        self._keys, self._instance = self._groups.keys_of_parts(parallelism), f"{instance}/{parallelism}"
        self._sent = dict.fromkeys(self._spec.sources, (EARLIEST, 0))
        self._idle = dict.fromkeys(self._spec.sources, False)
        self._timers = KeyTimers(self._spec.watermark_step_ms)
        self._timer_key = ""

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        yield from self._begun(ctx)
        if passed := beat_ms(value):
            for progress in self._progress.values():
                progress.passed(passed)
        elif value:
            yield from self._events_of(decode_micro_batch(value))
        else:
            yield from self._marks()

    def _events_of(self, batch: MicroBatch) -> Iterator[Any]:
        source = batch.data_type
        if source not in self._decoders:
            parts = len(self._keys)
            self._decoders[source] = self._spec.decoder(source, _now, self._expressions, parts)
        decoded = self._decoders[source].decode(batch)
        yield from to_rows(decoded.dead)
        watermark, _ = self._sent[source]
        for view, part, events in decoded.parts:
            yield self._tags[view], event_row(self._keys[part], view, watermark, events)
        for partition, newest in decoded.newest.items():
            self._progress[source].heard(partition, newest)
            self._idle[source] = False
        yield from self._told(source)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        if timestamp == END_OF_INPUT:  # its watermark follows
            yield from self._marks()
            return
        yield from self._begun(ctx)
        if current_key(ctx) == self._timer_key:
            for source in self._spec.sources:
                yield from self._told(source)
            self._timers.again(self._timer_key, ctx.timer_service(), timestamp)

    def _begun(self, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        if not self._timer_key:
            self._timer_key = current_key(ctx)
            self._timers.start(self._timer_key, ctx.timer_service())
            yield from self._marks()

    def _marks(self) -> Iterator[Any]:
        for source, (watermark, _) in self._sent.items():
            for stream in self._streams[source]:
                for key in self._keys:
                    yield events_tag(stream.name), mark_row(watermark, key)
            if self._spec.has_references(source):
                reached = IDLE if self._idle[source] else watermark
                yield progress_tag(source), mark_row(reached, self._instance)

    def _told(self, source: str) -> Iterator[Any]:
        now, (last, at) = _now(), self._sent[source]
        if now - at < self._spec.watermark_step_ms:
            return
        reached = self._progress[source].watermark()
        if reached is not None and reached > last:
            self._sent[source] = reached, now
            yield from self._all(source, reached)
        if not self._idle[source] and self._progress[source].is_idle(START_MS):
            self._idle[source] = True
            yield from self._all(source, IDLE)

    def _all(self, source: str, watermark: int) -> Iterator[Any]:
        for stream in self._streams[source]:
            yield events_tag(stream.name), watermark_row(watermark)
        if self._spec.has_references(source):
            yield progress_tag(source), watermark_row(watermark, self._instance)


def _now() -> int:
    return time.time_ns() // 1_000_000
