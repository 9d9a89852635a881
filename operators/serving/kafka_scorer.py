"""Records read where they are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyflink.datastream.functions import KeyedCoProcessFunction

from operators.block_row import to_rows
from operators.serving.keyed_scorer import KeyedScorer
from operators.sources.direct_reading import DirectReading
from schemas.block import Block


class KafkaScorer(DirectReading, KeyedScorer):
    """Ticks on input 1, descriptors on input 2, both keyed as in `KeyedScorer`."""

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        return self.ticked(ctx)

    def prepared(self, key: str, ctx: Any) -> Iterable[Any]:
        return to_rows(self._ready(key, self.data_type_of(key), ctx))

    def rows_of(self, key: str, block: Block) -> Iterator[Any]:
        return to_rows(self._scorer.on_block(key, block))

    def kept(self, key: str) -> None:
        self._keep(key, self.data_type_of(key))
