"""Where the answers of candidates meet what is expected of them, and blocks are decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimeDomain, TimerService
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, ValueStateDescriptor

from operators.block_row import to_rows
from operators.code_guard import check_code, code_digest
from operators.ensemble.speculation_rows import answer_of, expectation_of
from operators.keyed_table import current_key
from operators.ticks import END_OF_INPUT, Ticks, subtask_of
from udfs.ensemble.collection.collector_spec import CollectorSpec


class KeyedBlockStore:
    """What `udfs.ensemble.collection.open_block.BlockStore` asks for, for the key at hand.

    `at` must be called before a call that uses the store. `keep_end`: the key has more use for the end.
    """

    def __init__(self, context: RuntimeContext) -> None:
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._state = context.get_state(ValueStateDescriptor("block", pickled))
        self._answers = context.get_list_state(ListStateDescriptor("answers", pickled))
        self.write, self.add = self._state.update, self._answers.add
        self.drop_answers = self._answers.clear

    def at(self, timers: TimerService, keep_end: bool) -> None:
        self._timers, self._keep_end = timers, keep_end

    def now(self) -> int:
        return self._timers.current_processing_time()

    def read(self) -> tuple[bytes | None, Sequence[bytes]]:
        return self._state.value(), list(self._answers.get() or ())

    def drop(self) -> None:
        self._state.clear()
        if not self._keep_end:
            self._timers.delete_event_time_timer(END_OF_INPUT)

    def wake(self, at: int) -> None:
        self._timers.register_processing_time_timer(at)

    def let_sleep(self, at: int) -> None:
        self._timers.delete_processing_time_timer(at)

    def tell_end(self) -> None:
        self._timers.register_event_time_timer(END_OF_INPUT)


class Collector(KeyedCoProcessFunction):
    """Expectations on input 1, answers on input 2, both keyed by block id.

    Main output: rows of RESULTS; side outputs: DEAD_LETTERS, MODEL_STATS. Statistics are of the instance and
    not of a block: the first block's key lends them its timers.
    """

    def __init__(self, spec: CollectorSpec) -> None:
        self._code = code_digest()
        self._spec = spec

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._collecting = self._spec.collecting(subtask_of(context))
        self._store = KeyedBlockStore(context)
        self._ticks = Ticks(self._spec.stats_ms)
        self._ticking = ""

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        key = self._ready(ctx)
        expectation, block = expectation_of(value)
        yield from to_rows(self._collecting.expect(key, expectation, block, self._store))

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        key = self._ready(ctx)
        yield from to_rows(self._collecting.answer(key, answer_of(value), self._store))

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = self._ready(ctx)
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from to_rows(self._collecting.ended(key, self._store))
            yield from to_rows(self._collecting.stats())
            return
        yield from to_rows(self._collecting.woken(key, self._store))
        if key == self._ticking:
            yield from to_rows(self._collecting.stats())
            self._ticks.again(ctx.timer_service())

    def _ready(self, ctx: Any) -> str:
        key, timers = current_key(ctx), ctx.timer_service()
        if not self._ticking:
            self._ticking = key
            self._ticks.start(key, timers)
        self._store.at(timers, keep_end=key == self._ticking)
        return key
