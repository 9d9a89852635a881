"""Where blocks and models meet: one operator for the key-based and for the partition-based join."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from operators.block_row import block_of, descriptor_of, to_rows
from operators.code_guard import check_code, code_digest
from operators.keyed_table import current_key
from operators.lane_keys import lane_and_type
from operators.serving.block_scorer import BlockScorer
from schemas.errors import DescriptorError
from udfs.models.descriptor import parse
from udfs.serving.output import Emission
from udfs.serving.scoring_spec import ScoringSpec


class KeyedScorer(KeyedCoProcessFunction):
    """Blocks on input 1, descriptors on input 2, both keyed by `DATA_TYPE` or by `LANE/DATA_TYPE`.

    With lanes, the instance holds one model a data type for all its lanes. A copy of each descriptor comes
    under every lane; the lane that came first acts on it, the others only keep the log in their state, so
    that each can take it to another instance when the job is rescaled.
    """

    def __init__(self, spec: ScoringSpec) -> None:
        self._code = code_digest()
        self._spec = spec
        self._opened: BlockScorer | None = None

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._scorer = self._opened = BlockScorer(self._spec, context)
        self._log = context.get_state(ValueStateDescriptor("model-log", Types.PICKLED_BYTE_ARRAY()))
        self._acting: dict[str, str] = {}
        self._stored: dict[str, int] = {}

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        block, key = block_of(value), current_key(ctx)
        yield from to_rows(self._ready(key, block.data_type, ctx))
        yield from to_rows(self._scorer.on_block(key, block))
        self._keep(key, block.data_type)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        serving, descriptor, key = self._scorer.serving, descriptor_of(value), current_key(ctx)
        try:
            announced = parse(descriptor)
        except DescriptorError:
            yield from to_rows([serving.unreadable(descriptor)])
            return
        yield from to_rows(self._ready(key, announced.data_type, ctx))
        if self._acting.setdefault(announced.data_type, key) == key:
            yield from to_rows(serving.announce(descriptor, announced))
        self._keep(key, announced.data_type)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = current_key(ctx)
        data_type = self.data_type_of(key)
        yield from to_rows(self._ready(key, data_type, ctx))
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from to_rows(self._scorer.on_end(key, data_type))
        else:
            yield from to_rows(self._scorer.on_tick(key, data_type))
            self._scorer.ticks.again(ctx.timer_service())
        self._keep(key, data_type)

    def data_type_of(self, key: str) -> str:
        return lane_and_type(key, self._spec.lanes)[1]

    def _ready(self, key: str, data_type: str, ctx: Any) -> Sequence[Emission]:
        self._scorer.ticks.start(key, ctx.timer_service())
        serving = self._scorer.serving
        return [] if serving.knows(data_type) else serving.restore(data_type, self._log.value())

    def _keep(self, key: str, data_type: str) -> None:
        # A load that ended under another key is written at this key's next tick; until then the
        # stored log still lists it as waiting, which a restart handles.
        revision = self._scorer.serving.revision(data_type)
        if self._stored.get(key, 0) != revision:
            self._stored[key] = revision
            self._log.update(self._scorer.serving.log(data_type))
