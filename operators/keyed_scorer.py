"""The key-based join: blocks and models of one data type meet in the one instance that owns the type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from operators.block_row import block_of, descriptor_of, to_rows
from operators.block_scorer import BlockScorer
from schemas.errors import DescriptorError
from udfs.descriptor import parse
from udfs.emission import Emission
from udfs.scoring_spec import ScoringSpec


class KeyedScorer(KeyedCoProcessFunction):
    """Blocks on input 1, descriptors on input 2, both keyed by data type.

    Descriptors that cannot be read are keyed by the empty string. State: a model log a data type.
    """

    def __init__(self, spec: ScoringSpec) -> None:
        self._spec = spec
        self._opened: BlockScorer | None = None

    def open(self, context: RuntimeContext) -> None:
        self._scorer = self._opened = BlockScorer(self._spec, context)
        self._log = context.get_state(ValueStateDescriptor("model-log", Types.PICKLED_BYTE_ARRAY()))

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        block = block_of(value)
        yield from to_rows(self._ready(block.data_type, ctx))
        yield from to_rows(self._scorer.on_block(block.data_type, block))
        self._keep(block.data_type)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        serving, descriptor = self._scorer.serving, descriptor_of(value)
        try:
            announced = parse(descriptor)
        except DescriptorError:
            yield from to_rows([serving.unreadable(descriptor)])
            return
        yield from to_rows(self._ready(announced.data_type, ctx))
        yield from to_rows(serving.announce(descriptor, announced))
        self._keep(announced.data_type)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        data_type = str(ctx.get_current_key())
        yield from to_rows(self._ready(data_type, ctx))
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from to_rows(self._scorer.on_end(data_type, data_type))
        else:
            yield from to_rows(self._scorer.on_tick(data_type, data_type))
            self._scorer.tick_again(ctx.timer_service())
        self._keep(data_type)

    def _ready(self, data_type: str, ctx: Any) -> list[Emission]:
        self._scorer.start_ticking(data_type, ctx.timer_service())
        serving = self._scorer.serving
        return [] if serving.knows(data_type) else serving.restore(data_type, self._log.value())

    def _keep(self, data_type: str) -> None:
        # A load that ended under another key is written at this key's next tick; until then the
        # stored log still lists it as waiting, which a restart handles.
        if self._scorer.serving.changed(data_type):
            self._log.update(self._scorer.serving.log(data_type))


def data_type_of(row: Any) -> str:
    """The key of a descriptor: its data type, or an empty string where it cannot be read."""
    try:
        return parse(descriptor_of(row)).data_type
    except DescriptorError:
        return ""
