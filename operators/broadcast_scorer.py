"""The partition-based join: models go to every instance, blocks stay with the instance that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedBroadcastProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from operators.block_row import block_of, descriptor_of, to_rows
from operators.block_scorer import BlockScorer
from schemas.errors import DescriptorError
from udfs.descriptor import parse
from udfs.emission import Emission
from udfs.scoring_spec import ScoringSpec

MODEL_LOGS = MapStateDescriptor("model-logs", Types.STRING(), Types.PICKLED_BYTE_ARRAY())


class BroadcastScorer(KeyedBroadcastProcessFunction):
    """Blocks keyed by lane and data type, descriptors broadcast. A key is `LANE/DATA_TYPE`.

    Broadcast state can be written only when a descriptor arrives, so that all instances hold the same. A
    load that ended since is still listed there as waiting, which a restart handles.
    """

    def __init__(self, spec: ScoringSpec) -> None:
        self._spec = spec
        self._opened: BlockScorer | None = None

    def open(self, context: RuntimeContext) -> None:
        self._scorer = self._opened = BlockScorer(self._spec, context)

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element(
        self, value: Any, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext
    ) -> Iterator[Any]:
        block, key = block_of(value), str(ctx.get_current_key())
        yield from to_rows(self._ready(key, block.data_type, ctx))
        yield from to_rows(self._scorer.on_block(key, block))

    def process_broadcast_element(
        self, value: Any, ctx: KeyedBroadcastProcessFunction.Context
    ) -> Iterator[Any]:
        serving, descriptor = self._scorer.serving, descriptor_of(value)
        try:
            announced = parse(descriptor)
        except DescriptorError:
            yield from to_rows([serving.unreadable(descriptor)])
            return
        logs = ctx.get_broadcast_state(MODEL_LOGS)
        if not serving.knows(announced.data_type):
            yield from to_rows(serving.restore(announced.data_type, logs.get(announced.data_type)))
        yield from to_rows(serving.announce(descriptor, announced))
        yield from to_rows(serving.poll())
        logs.put(announced.data_type, serving.log(announced.data_type))

    def on_timer(self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = str(ctx.get_current_key())
        data_type = key.split("/", 1)[1]
        yield from to_rows(self._ready(key, data_type, ctx))
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from to_rows(self._scorer.on_end(key, data_type))
        else:
            yield from to_rows(self._scorer.on_tick(key, data_type))
            self._scorer.tick_again(ctx.timer_service())

    def _ready(self, key: str, data_type: str, ctx: Any) -> list[Emission]:
        self._scorer.start_ticking(key, ctx.timer_service())
        serving = self._scorer.serving
        if serving.knows(data_type):
            return []
        return serving.restore(data_type, ctx.get_broadcast_state(MODEL_LOGS).get(data_type))
