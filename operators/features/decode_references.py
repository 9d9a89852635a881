"""Blocks of raw reference rows as copies for each shard, behind the watermark of source and references."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext

from operators.event_watermark import watermark_row
from operators.features.feature_rows import event_row, events_tag
from operators.flink_internals import current_key
from operators.rows import to_rows
from operators.ticks import END_OF_INPUT, Ticks
from schemas.micro_batch import decode_micro_batch
from udfs.features.events.acceptable import EARLIEST
from udfs.features.events.decode_spec import ReferenceSpec
from udfs.features.events.decoder import EventDecoder


class DecodeReferences(KeyedCoProcessFunction):
    """Micro-batches of references on input 1; on input 2 how far each instance has decoded the source,
    keyed by the instance. One instance only: it knows all partitions.

    No main output. Side outputs: `events_tag(STREAM)` of each stream with references, and DEAD_LETTERS. What
    a view's operator hears as watermark is then the least of both, since it has this stream for an input.
    Copies cost state: PyFlink has no broadcast state for keyed streams in thread mode.
    """

    def __init__(self, spec: ReferenceSpec) -> None:
        self._spec = spec

    def open(self, context: RuntimeContext) -> None:
        self._streams = self._spec.streams()
        self._tags = {view: events_tag(s.name) for s in self._streams for view in s.views}
        self._decoders: dict[str, EventDecoder] = {}
        self._progress = self._spec.progress(_now())
        self._sent = {s.name: EARLIEST for s in self._streams}
        self._ticks = Ticks(self._spec.settle_ms)
        self._ticking = ""

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        self._tick(ctx)
        block = decode_micro_batch(value)
        name = block.data_type
        if name not in self._spec.references():
            return  # another source's
        if name not in self._decoders:
            self._decoders[name] = self._spec.decoder(name, _now)
        decoded = self._decoders[name].decode(block)
        yield from to_rows(decoded.dead)
        for view, shard, rows in decoded.parts:
            yield self._tags[view], event_row(view, shard, EARLIEST, rows)
        for partition, newest in decoded.newest.items():
            self._progress.heard(name, partition, newest, _now())
        yield from self._told()

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        self._tick(ctx)
        self._progress.told(current_key(ctx), int(value[0]), _now())
        yield from self._told()

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        if timestamp == END_OF_INPUT:
            return
        self._tick(ctx)
        if current_key(ctx) == self._ticking:
            yield from self._told()
            self._ticks.again(self._ticking, ctx.timer_service())

    def _tick(self, ctx: Any) -> None:
        if not self._ticking:
            self._ticking = current_key(ctx)
            self._ticks.start(self._ticking, ctx.timer_service())

    def _told(self) -> Iterator[Any]:
        for stream in self._streams:
            reached = self._progress.watermark(stream.references, _now())
            if reached is not None and reached > self._sent[stream.name]:
                self._sent[stream.name] = reached
                yield events_tag(stream.name), watermark_row(reached)


def _now() -> int:
    return time.time_ns() // 1_000_000
