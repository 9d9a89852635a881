"""Micro-batches meet plans: requests by model type say who is asked about which record, a decision context
goes to the collector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext
from pyflink.datastream.output_tag import OutputTag

from operators.buffer import Buffer
from operators.code_guard import check_code, code_digest
from operators.ensemble.speculation_rows import DECISION_CONTEXT, REQUEST, context_row, request_row
from operators.flink_internals import current_key, instance_of
from operators.key_groups import KeyGroups
from operators.rows import to_rows
from operators.timers import KeyTimers
from operators.type_logs import TypeLogs
from schemas.errors import ModelError
from schemas.micro_batch import MicroBatch, decode_micro_batch, encode_micro_batch
from schemas.model_pb2 import ModelDescriptor
from udfs.ensemble.routing.router import Routed
from udfs.ensemble.routing.router_spec import RouterSpec
from udfs.models.descriptor import parse
from udfs.serving.output import Output

DECISION_CONTEXTS = OutputTag("decision-contexts", DECISION_CONTEXT)
REQUESTS = {t: OutputTag(f"requests-{t}", REQUEST) for t, _ in ModelDescriptor.ModelType.items()}
"""Model type -> the side output of its requests, but for the type whose requests are the main output."""


class RouterOperator(KeyedCoProcessFunction):
    """Micro-batches on input 1, descriptors on input 2, both under the key of the instance.

    Main output: rows of REQUEST for the executor of `spec.main`. Side outputs: REQUESTS of the other model
    types, DECISION_CONTEXTS, MODEL_EVENTS. Records wait until their data type has a candidate, at most as
    `spec.buffer` says; then they leave as decision contexts with nobody asked.
    """

    def __init__(self, spec: RouterSpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._spec, self._groups = spec, groups

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._index, instances = instance_of(context)
        self._own = self._groups.keys_of_instance(self._index, instances)[0]
        self._router = self._spec.router(self._index)
        self._buffer = Buffer(context, self._spec.buffer)
        self._logs = TypeLogs(context, "candidates", self._groups)
        self._timers = KeyTimers(self._spec.timer_ms)

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        came = bytes(value)
        batch, key = decode_micro_batch(came), current_key(ctx)
        yield from to_rows(self._ready(key, None, ctx))
        if self._router.routes(batch.data_type):
            yield from self._waited(key, batch.data_type)
            yield from self._sent(key, self._router.route(batch), batch, came)
        else:
            self._buffer.add(key, batch)
            yield from self._waited(key, batch.data_type)
        self._logs.keep(key, self._router)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        descriptor, key = bytes(value), current_key(ctx)
        try:
            published = parse(descriptor)
        except ModelError:
            if self._index == 0:  # every instance gets every descriptor
                yield from to_rows([self._router.unreadable(descriptor)])
            return
        yield from to_rows(self._ready(key, published.data_type, ctx))
        yield from to_rows(self._router.publish(descriptor, published))
        yield from self._waited(key, published.data_type)
        self._logs.keep(key, self._router)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        key, ended = current_key(ctx), ctx.time_domain() == TimeDomain.EVENT_TIME
        yield from to_rows(self._ready(key, None, ctx))
        for data_type in self._buffer.data_types():
            yield from self._waited(key, data_type, ended)
        if key != self._own and not self._buffer.data_types():  # an instance's at another parallelism
            self._timers.stop(key, ctx.timer_service())
        elif not ended:
            self._timers.again(key, ctx.timer_service(), timestamp)
        self._logs.keep(key, self._router)

    def _ready(self, key: str, data_type: str | None, ctx: Any) -> Iterator[Output]:
        self._timers.start(key, ctx.timer_service())
        yield from self._logs.restore(key, data_type, self._router)

    def _waited(self, key: str, data_type: str, ended: bool = False) -> Iterator[Any]:
        """What waits is routed where there is a candidate now, or where it has waited for too long."""
        if not self._buffer.any(key, data_type):
            return
        if ended or self._router.routes(data_type) or self._buffer.overdue(key, data_type):
            for batch in self._buffer.take(key, data_type):
                yield from self._sent(key, self._router.route(batch), batch)

    def _sent(
        self, key: str, routed: Iterable[Routed], whole: MicroBatch, came: bytes | None = None
    ) -> Iterator[Any]:
        """Rows of what was routed; `came`: the bytes of `whole`, which go on as they are where they can."""
        for one in routed:
            packed = came if came is not None and one.batch is whole else encode_micro_batch(one.batch)
            # first, so that the collector most often knows what an answer belongs to
            yield DECISION_CONTEXTS, context_row(key, one.context, packed)
            for model_type, request in one.requests.items():
                sent = request_row(key, request, packed)
                yield sent if model_type == self._spec.main else (REQUESTS[model_type], sent)
