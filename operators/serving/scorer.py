"""Where records and models meet: one operator for the key-based and for the partition-based join."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext

from operators.buffer import Buffer
from operators.code_guard import check_code, code_digest
from operators.flink_internals import current_key, instance_of, restarted
from operators.key_groups import KeyGroups
from operators.rows import to_rows
from operators.serving.in_order import InOrder
from operators.timers import KeyTimers
from operators.type_logs import TypeLogs
from schemas.errors import DescriptorError
from schemas.micro_batch import decode_micro_batch
from udfs.ensemble.routing.arms import Arms, Sharing
from udfs.io.record_codecs import open_codec
from udfs.models.descriptor import parse
from udfs.serving.output import Output
from udfs.serving.scoring_spec import ScoringSpec
from udfs.serving.serving import Serving


class Scorer(KeyedCoProcessFunction):
    """Micro-batches on input 1, descriptors on input 2; main output OUTPUTS, and side outputs of
    `operators.rows`.

    With `groups` (the partition-based join) both come under the key of the instance, which has one model a
    data type for all its records. Without, the key is the data type. `sharing`: by data type, those of which
    other jobs score a part.
    """

    def __init__(
        self, spec: ScoringSpec, groups: KeyGroups | None, sharing: Mapping[str, Sharing] | None = None
    ) -> None:
        self._code = code_digest()
        self._spec, self._groups, self._sharing = spec, groups, sharing or {}
        self._opened: Serving | None = None

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        index, instances = instance_of(context)
        self._serving = self._opened = self._spec.serving(index, restarted(context))
        # Every instance gets every descriptor then: one of them tells of those that cannot be read.
        self._tells = self._groups is None or index == 0
        self._own = "" if self._groups is None else self._groups.keys_of_instance(index, instances)[0]
        self._logs = TypeLogs(context, "model-logs", self._groups)
        codec = self._spec.codec
        self._arms = Arms(
            self._sharing, open_codec(codec), raw_json=codec.raw_json, subtask=index, quotas=self._spec.quotas
        )
        self._arm_logs = TypeLogs(context, "arms", self._groups)
        self._buffer = Buffer(context, self._spec.buffer)
        self._in_order = InOrder(
            self._serving, self._arms, self._buffer, self._spec.quotas.patience_ms, self._spec.max_batch
        )
        self._timers = KeyTimers(self._spec.timer_ms)

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        batch, key = decode_micro_batch(value), current_key(ctx)
        # a data type that records name, and nobody who publishes, leaves nothing behind
        yield from to_rows(self._ready(key, None, ctx))
        yield from to_rows(self._serving.poll())
        yield from to_rows(self._in_order.score(key, batch))
        self._keep(key, ctx)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        serving, descriptor, key = self._serving, bytes(value), current_key(ctx)
        try:
            published = parse(descriptor)
        except DescriptorError:
            yield from to_rows([serving.unreadable(descriptor)] if self._tells else [])
            return
        yield from to_rows(self._ready(key, published.data_type, ctx))
        yield from to_rows(self._arms.publish(descriptor, published))
        if self._arms.serves(published):
            yield from to_rows(serving.publish(descriptor, published))
        self._keep(key, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        key, serving = current_key(ctx), self._serving
        yield from to_rows(self._ready(key, None, ctx))
        ended = ctx.time_domain() == TimeDomain.EVENT_TIME
        yield from to_rows(serving.settle() if ended else serving.poll())
        for data_type in self._buffer.data_types():
            yield from to_rows(self._in_order.waited(key, data_type, ended))
        yield from to_rows(serving.stats(0 if ended else self._spec.stats_ms))
        self._keep(key, ctx, timestamp)
        if self._is_over(key):
            self._timers.stop(key, ctx.timer_service())
            self._logs.forget(key)
            self._arm_logs.forget(key)
        elif not ended:
            self._timers.again(key, ctx.timer_service(), timestamp)

    def _ready(self, key: str, data_type: str | None, ctx: Any) -> Iterator[Output]:
        self._timers.start(key, ctx.timer_service())
        yield from self._logs.restore(key, data_type, self._serving)
        yield from self._arm_logs.restore(key, data_type, self._arms)

    def _is_over(self, key: str) -> bool:
        """Whether no record waits under the key any more, and nothing is to be done for it: it is a data type
        without a model, or was an instance's before the parallelism changed."""
        if self._buffer.data_types():
            return False
        return self._serving.idle(key) if self._groups is None else key != self._own

    def _keep(self, key: str, ctx: Any, fired: int = 0) -> None:
        self._logs.keep(key, self._serving)
        self._arm_logs.keep(key, self._arms)
        if self._in_order.is_slow(key):
            self._timers.soon(ctx.timer_service(), fired)
