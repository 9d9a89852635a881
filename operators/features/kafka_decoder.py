"""Records read where they are decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyflink.datastream.functions import KeyedProcessFunction

from operators.features.decode_events import DecodeEvents
from operators.sources.direct_reading import DirectReading
from schemas.block import Block


class KafkaDecoder(DirectReading, DecodeEvents):
    """Ticks keyed as the blocks of `DecodeEvents`."""

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        return self.ticked(ctx)

    def prepared(self, key: str, ctx: Any) -> Iterable[Any]:
        self._ticks.start(key, ctx.timer_service())
        return ()

    def rows_of(self, key: str, block: Block) -> Iterator[Any]:
        return self._events_of(block)

    def kept(self, key: str) -> None:
        """Progress is not state."""
