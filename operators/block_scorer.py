"""What the joins do with a block and with a tick of the clock."""

from __future__ import annotations

from collections.abc import Iterator

from pyflink.datastream import TimerService
from pyflink.datastream.functions import RuntimeContext

from operators.held_blocks import HeldBlocks
from schemas.block import Block
from udfs.emission import Emission
from udfs.scoring_spec import ScoringSpec

# A timer in event time that fires once, when a finite input has ended: timers in processing time
# never fire then, and what is still held back would be lost without a word.
END_OF_INPUT = 2**63 - 1


class BlockScorer:
    """Scores blocks, holds them back until there is a model, and does the rest on ticks.

    Each key has its own timers. `key` is the key of the call; a data type may have several keys.
    """

    def __init__(self, spec: ScoringSpec, context: RuntimeContext) -> None:
        self._spec = spec
        self.serving = spec.serving(_subtask(context))
        self._held = HeldBlocks(context, spec.hold)
        self._ticking: set[str] = set()

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

    def start_ticking(self, key: str, timers: TimerService) -> None:
        """Set the key's timers, unless they are set. After a restart the set is empty: see `tick_again`."""
        if key not in self._ticking:
            self._ticking.add(key)
            timers.register_event_time_timer(END_OF_INPUT)
            self.tick_again(timers)

    def tick_again(self, timers: TimerService) -> None:
        # Aligned, so that a timer that came back with the state and a new one are the same timer.
        every = self._spec.tick_ms
        timers.register_processing_time_timer((timers.current_processing_time() // every + 1) * every)

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


def _subtask(context: RuntimeContext) -> int:
    """PyFlink 2.3's thread mode asks Java for a method that Flink 2 moved to the task's info."""
    java = getattr(context, "_runtime_context", None)
    if java is None:
        return context.get_index_of_this_subtask()
    return java.getTaskInfo().getIndexOfThisSubtask()
