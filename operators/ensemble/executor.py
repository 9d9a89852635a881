"""Where candidates are asked: requests in, answers out, and nobody waits for a slow model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimeDomain, TimerService
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from operators.code_guard import check_code, code_digest
from operators.ensemble.speculation_rows import answers_row, request_of
from operators.flink_internals import current_key, instance_of, restarted
from operators.key_groups import KeyGroups
from operators.rows import to_rows
from operators.timers import KeyTimers, time_now
from operators.type_logs import TypeLogs
from schemas.errors import ModelError
from schemas.micro_batch import decode_micro_batch
from schemas.results.answers import Answer
from udfs.ensemble.execution.executor import Executor
from udfs.ensemble.execution.executor_spec import ExecutorSpec
from udfs.ensemble.execution.job import PendingCall, decode_pending, encode_pending
from udfs.models.descriptor import parse


class ExecutorOperator(KeyedCoProcessFunction):
    """Rows of REQUEST on input 1, descriptors on input 2, both under keys of instances.

    Main output: rows of ANSWER. Side outputs: MODEL_EVENTS, MODEL_STATS. Descriptors that cannot be read are
    the router's to tell.

    A key's answers leave under that key only, and its unanswered requests are in its state whenever a call
    here has returned: so a checkpoint has either the answer or the request, which is then declined.
    """

    def __init__(self, spec: ExecutorSpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._spec, self._groups = spec, groups
        self._opened: Executor | None = None

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._executor = self._opened = self._spec.executor(instance_of(context)[0], restarted(context))
        self._logs = TypeLogs(context, "candidate-logs", self._groups)
        self._unanswered = context.get_state(ValueStateDescriptor("pending", Types.PICKLED_BYTE_ARRAY()))
        self._timers = KeyTimers(self._spec.scoring.timer_ms)
        self._listed: dict[str, list[PendingCall]] = {}  # as in state; a key is in it once it has been seen
        self._due: dict[str, int] = {}

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        key = current_key(ctx)
        request, packed = request_of(value)
        yield from self._ready(key, request.data_type, ctx)
        yield from _rows(key, self._executor.request(key, request, decode_micro_batch(packed)))
        self._keep(key, ctx)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        descriptor, key = bytes(value), current_key(ctx)
        try:
            published = parse(descriptor)
        except ModelError:
            return
        yield from self._ready(key, published.data_type, ctx)
        yield from to_rows(self._executor.publish(descriptor, published))
        yield from _rows(key, self._executor.take(key))
        self._keep(key, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = current_key(ctx)
        yield from self._ready(key, None, ctx)
        if ctx.time_domain() == TimeDomain.EVENT_TIME:  # the end of the input
            yield from _rows(key, self._executor.end(key))
            yield from to_rows(self._executor.stats())
        else:
            yield from _rows(key, self._executor.take(key))
            if self._timers.due(key, timestamp):
                yield from to_rows(self._executor.stats(self._spec.scoring.stats_ms))
                self._timers.again(key, ctx.timer_service(), timestamp)
        self._keep(key, ctx, timestamp)

    def _ready(self, key: str, data_type: str | None, ctx: Any) -> Iterator[Any]:
        self._timers.start(key, ctx.timer_service())
        yield from to_rows(self._logs.restore(key, data_type, self._executor))
        if key not in self._listed:
            stored = self._unanswered.value()
            self._listed[key] = decode_pending(bytes(stored)) if stored else []
            yield from _rows(key, self._executor.restarted(self._listed[key]))
        yield from to_rows(self._executor.poll())

    def _keep(self, key: str, ctx: Any, fired: int = 0) -> None:
        self._logs.keep(key, self._executor)
        pending = self._executor.pending(key)
        if pending != self._listed[key]:
            self._listed[key] = pending
            if pending:
                self._unanswered.update(encode_pending(pending))
            else:
                self._unanswered.clear()
        again = self._executor.look_again_ms(key)
        if again is not None:
            self._look_again(key, again, ctx.timer_service(), fired)

    def _look_again(self, key: str, ms: int, timers: TimerService, fired: int) -> None:
        now = time_now(timers, fired)
        if not now < self._due.get(key, 0) <= now + ms:  # one timer is enough for all that is pending
            self._due[key] = now + ms
            timers.register_processing_time_timer(now + ms)


def _rows(key: str, answers: Sequence[Answer]) -> Iterator[Any]:
    if answers:
        yield answers_row(key, answers)
