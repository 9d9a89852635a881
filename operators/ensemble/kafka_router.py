"""Records read where they are routed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyflink.datastream.functions import KeyedCoProcessFunction

from operators.ensemble.router import RouterOperator
from operators.lane_keys import lane_and_type
from operators.sources.direct_reading import DirectReading
from schemas.block import Block


class KafkaRouter(DirectReading, RouterOperator):
    """Ticks on input 1, descriptors on input 2, both keyed as in `RouterOperator`."""

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        return self.ticked(ctx)

    def prepared(self, key: str, ctx: Any) -> Iterable[Any]:
        self._ready(key, lane_and_type(key)[1], ctx)
        return ()

    def rows_of(self, key: str, block: Block) -> Iterator[Any]:
        return self._routed(key, block)

    def kept(self, key: str) -> None:
        self._keep(key, lane_and_type(key)[1])
