"""Blocks meet plans: who is asked about which record, as requests by model type and expectations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext
from pyflink.datastream.output_tag import OutputTag
from pyflink.datastream.state import ValueStateDescriptor

from operators.block_row import block_of, descriptor_of, row_of, to_rows
from operators.code_guard import check_code, code_digest
from operators.ensemble.speculation_rows import EXPECTATION, REQUEST, expectation_row, request_row
from operators.held_blocks import HeldBlocks
from operators.keyed_table import current_key
from operators.lane_keys import lane_and_type
from operators.ticks import Ticks, subtask_of
from schemas.block import Block, pack
from schemas.errors import ModelError
from schemas.model_pb2 import ModelDescriptor
from udfs.ensemble.routing.router import Routed
from udfs.ensemble.routing.router_spec import RouterSpec
from udfs.models.descriptor import parse

EXPECTATIONS = OutputTag("expectations", EXPECTATION)
REQUESTS = {t: OutputTag(f"requests-{t}", REQUEST) for t, _ in ModelDescriptor.ModelType.items()}
"""Model type -> the side output of its requests, but for the type whose requests are the main output."""


class RouterOperator(KeyedCoProcessFunction):
    """Blocks on input 1, descriptors on input 2, both keyed by `LANE/DATA_TYPE`.

    Main output: rows of REQUEST for the executor of `spec.main`. Side outputs: REQUESTS of the other model
    types, EXPECTATIONS, MODEL_EVENTS. Blocks are held back until their data type has a candidate, at most as
    `spec.hold` says; then they leave as expectations with nobody asked.

    As in the partition-based join, the lane whose copy of a descriptor came first acts on it, and the others
    keep the log in their state.
    """

    def __init__(self, spec: RouterSpec) -> None:
        self._code = code_digest()
        self._spec = spec

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._router = self._spec.router(subtask_of(context))
        self._held = HeldBlocks(context, self._spec.hold)
        self._log = context.get_state(ValueStateDescriptor("candidates", Types.PICKLED_BYTE_ARRAY()))
        self._ticks = Ticks(self._spec.tick_ms)
        self._acting: dict[str, str] = {}
        self._stored: dict[str, int] = {}

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        block, key = block_of(value), current_key(ctx)
        self._ready(key, block.data_type, ctx)
        yield from self._routed(key, block, value)
        self._keep(key, block.data_type)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        descriptor, key = descriptor_of(value), current_key(ctx)
        try:
            announced = parse(descriptor)
        except ModelError:
            yield from to_rows([self._router.unreadable(descriptor)])
            return
        data_type = announced.data_type
        self._ready(key, data_type, ctx)
        if self._acting.setdefault(data_type, key) == key:
            yield from to_rows(self._router.announce(descriptor, announced))
        if self._router.routes(data_type):
            yield from self._release(key)
        self._keep(key, data_type)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = current_key(ctx)
        _, data_type = lane_and_type(key)
        self._ready(key, data_type, ctx)
        at_end = ctx.time_domain() == TimeDomain.EVENT_TIME
        if at_end or self._router.routes(data_type):
            yield from self._release(key)
        else:
            yield from self._overdue(key)
        if not at_end:
            self._ticks.again(ctx.timer_service())
        self._keep(key, data_type)

    def _ready(self, key: str, data_type: str, ctx: Any) -> None:
        self._ticks.start(key, ctx.timer_service())
        if not self._router.knows(data_type):
            self._router.restore(data_type, self._log.value())

    def _keep(self, key: str, data_type: str) -> None:
        revision = self._router.revision(data_type)
        if self._stored.get(key, 0) != revision:
            self._stored[key] = revision
            self._log.update(self._router.log(data_type))

    def _routed(self, key: str, block: Block, came: Any = None) -> Iterator[Any]:
        if self._router.routes(block.data_type):
            yield from self._release(key)
            yield from self._sent(key, self._router.route(block), block, came)
        else:
            self._held.add(key, block)
            yield from self._overdue(key)

    def _overdue(self, key: str) -> Iterator[Any]:
        if self._held.any(key) and self._held.overdue():
            yield from self._release(key)

    def _release(self, key: str) -> Iterator[Any]:
        if self._held.any(key):
            for block in self._held.take(key):
                yield from self._sent(key, self._router.route(block), block)

    def _sent(self, key: str, routed: Iterable[Routed], whole: Block, came: Any = None) -> Iterator[Any]:
        """Rows of what was routed; `came`: the row of `whole`, which goes on as it is where it can."""
        for one in routed:
            if came is not None and one.block is whole:
                row = came
            else:
                _, row = row_of(key, pack(one.block))
            # first, so that the collector most often knows what an answer belongs to
            yield EXPECTATIONS, expectation_row(one.expectation, row)
            for model_type, request in one.requests.items():
                sent = request_row(key, request, row)
                yield sent if model_type == self._spec.main else (REQUESTS[model_type], sent)
