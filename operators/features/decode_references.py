"""Micro-batches of references as rows for every instance, behind the watermark of source and references."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.event_watermark import IDLE, is_mark, mark_row, watermark_row
from operators.features.feature_rows import complete_row, event_row, events_tag
from operators.features.reference_state import ReferenceState
from operators.flink_internals import current_key
from operators.key_groups import KeyGroups
from operators.rows import to_rows
from schemas.micro_batch import beat_ms, decode_micro_batch
from udfs.features.events.acceptable import EARLIEST
from udfs.features.events.decode_spec import ReferenceSpec
from udfs.features.events.decoder import EventDecoder
from udfs.features.events.reached_by_all import ReachedByAll


class DecodeReferences(KeyedCoProcessFunction):
    """Micro-batches of references, marks and beats, on input 1; on input 2 how far each instance has
    decoded the source, keyed by the instance. One instance only: it knows all partitions.

    No main output. Side outputs: `events_tag(STREAM)` of each stream with references, whose rows are for all
    instances of its views, and DEAD_LETTERS. What a view's operator hears as watermark is then the least of
    both, since it has this stream for an input. What is kept is sent again first of all, and then that it is
    complete.
    """

    def __init__(self, spec: ReferenceSpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._spec, self._groups = spec, groups

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._streams = self._spec.streams()
        self._tags = {view: events_tag(s.name) for s in self._streams for view in s.views}
        self._state = ReferenceState(context, self._spec, self._groups)
        self._decoders: dict[str, EventDecoder] = {}
        self._progress = self._spec.progress()
        self._sent = {s.name: EARLIEST for s in self._streams}
        self._source = ReachedByAll()
        self._restored = False

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        yield from self._begun(ctx)
        if passed := beat_ms(value):
            self._progress.passed(passed)
            yield from self._told()
        else:
            yield from self._rows(value) if value else self._marked()
        self._state.leave(current_key(ctx))

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        yield from self._begun(ctx)
        watermark = int(value[0])
        if is_mark(value):
            self._source.told(current_key(ctx), watermark)
            return
        self._progress.told(current_key(ctx), None if watermark == IDLE else watermark)
        yield from self._told()

    def _begun(self, ctx: Any) -> Iterator[Any]:
        if self._restored:
            return
        self._restored, key = True, current_key(ctx)
        for view, rows in self._state.all():
            yield self._tags[view], event_row("", view, EARLIEST, rows)
        for stream in self._streams:
            yield events_tag(stream.name), complete_row(EARLIEST)
        self._state.leave(key)

    def _rows(self, value: Any) -> Iterator[Any]:
        batch = decode_micro_batch(value)
        name = batch.data_type
        if name not in self._spec.references():
            return  # another source's
        if name not in self._decoders:
            self._decoders[name] = self._spec.decoder(name, _now)
        decoded = self._decoders[name].decode(batch)
        yield from to_rows(decoded.dead)
        for view, _, rows in decoded.parts:
            self._state.take(view, rows)
            yield self._tags[view], event_row("", view, EARLIEST, rows)
        for partition, newest in decoded.newest.items():
            self._progress.heard(name, partition, newest)
        yield from self._told()

    def _marked(self) -> Iterator[Any]:
        # Of all streams: a view that reads a view goes no further than that one does.
        passed = min([self._source.watermark, *self._sent.values()]) - self._spec.watermark_step_ms
        for stream in self._streams:
            for view in stream.views:
                self._state.forget(view, passed)
            yield events_tag(stream.name), mark_row(self._sent[stream.name])

    def _told(self) -> Iterator[Any]:
        for stream in self._streams:
            reached = self._progress.watermark(stream.references)
            if reached is not None and reached > self._sent[stream.name]:
                self._sent[stream.name] = reached
                yield events_tag(stream.name), watermark_row(reached)


def _now() -> int:
    return time.time_ns() // 1_000_000
