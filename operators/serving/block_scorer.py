"""What the joins do with a block and with a tick of the clock."""

from __future__ import annotations

from collections.abc import Iterator

from pyflink.datastream.functions import RuntimeContext

from operators.held_blocks import HeldBlocks
from operators.ticks import Ticks, subtask_of
from schemas.block import Block
from udfs.serving.output import Emission
from udfs.serving.scoring_spec import ScoringSpec


class BlockScorer:
    """Scores blocks, holds them back until there is a model, and does the rest on ticks.

    Each key has its own timers. `key` is the key of the call; a data type may have several keys.
    """

    def __init__(self, spec: ScoringSpec, context: RuntimeContext) -> None:
        self._spec = spec
        self.serving = spec.serving(subtask_of(context))
        self.ticks = Ticks(spec.tick_ms)
        self._held = HeldBlocks(context, spec.hold)

    def on_block(self, key: str, block: Block) -> Iterator[Emission]:
        yield from self.serving.poll()
        if self.serving.serves(block.data_type):
            yield from self._score_held(key)
            yield from self.serving.score(block)
            return
        self._held.add(key, block)
        yield from self._release_overdue(key)

    def on_tick(self, key: str, data_type: str) -> Iterator[Emission]:
        yield from self.serving.poll()
        if self.serving.serves(data_type):
            yield from self._score_held(key)
        else:
            yield from self._release_overdue(key)
        yield from self.serving.stats(data_type, self._spec.stats_ms)

    def on_end(self, key: str, data_type: str) -> Iterator[Emission]:
        """The input has ended: nothing may be left behind."""
        yield from self.serving.settle()
        if self.serving.serves(data_type):
            yield from self._score_held(key)
        elif self._held.any(key):
            yield from self._release(key, "no model at the end of the input")
        yield from self.serving.stats(data_type)

    def close(self) -> None:
        self.serving.close()

    def _score_held(self, key: str) -> Iterator[Emission]:
        if self._held.any(key):
            for block in self._held.take(key):
                yield from self.serving.score(block)

    def _release_overdue(self, key: str) -> Iterator[Emission]:
        if self._held.any(key) and (reason := self._held.overdue()):
            yield from self._release(key, reason)

    def _release(self, key: str, reason: str) -> Iterator[Emission]:
        for block in self._held.take(key):
            yield from self.serving.release(block, reason)
