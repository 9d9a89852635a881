"""Where candidates are asked: requests in, answers out, and nobody waits for a slow model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimeDomain, TimerService
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from operators.block_row import block_of, descriptor_of, to_rows
from operators.code_guard import check_code, code_digest
from operators.ensemble.speculation_rows import answer_row, request_of
from operators.keyed_table import current_key
from operators.lane_keys import lane_and_type
from operators.ticks import Ticks, subtask_of
from schemas.errors import ModelError
from schemas.results.answers import Answer
from udfs.ensemble.execution.executor import Executor
from udfs.ensemble.execution.executor_spec import ExecutorSpec
from udfs.ensemble.execution.job import Pending, decode_pending, encode_pending
from udfs.models.descriptor import parse


class ExecutorOperator(KeyedCoProcessFunction):
    """Rows of REQUEST on input 1, descriptors on input 2, both keyed by `LANE/DATA_TYPE`.

    Main output: rows of ANSWER. Side outputs: MODEL_EVENTS, MODEL_STATS. Descriptors that cannot be read are
    the router's to tell. As in the partition-based join, the lane whose copy of a descriptor came first acts
    on it, and the others keep the logs in their state.

    A key's answers leave under that key only, and its unanswered requests are in its state whenever a call
    here has returned: so a checkpoint has either the answer or the request, which is then declined.
    """

    def __init__(self, spec: ExecutorSpec) -> None:
        self._code = code_digest()
        self._spec = spec
        self._opened: Executor | None = None

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._executor = self._opened = self._spec.executor(subtask_of(context))
        self._logs = context.get_state(ValueStateDescriptor("candidate-logs", Types.PICKLED_BYTE_ARRAY()))
        self._unanswered = context.get_state(ValueStateDescriptor("pending", Types.PICKLED_BYTE_ARRAY()))
        self._ticks = Ticks(self._spec.scoring.tick_ms)
        self._acting: dict[str, str] = {}
        self._stored: dict[str, int] = {}
        self._listed: dict[str, list[Pending]] = {}  # as in state; a key is in it once it has been seen
        self._due: dict[str, int] = {}

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        key = current_key(ctx)
        request, row = request_of(value)
        yield from self._ready(key, request.data_type, ctx)
        yield from _rows(self._executor.request(key, request, block_of(row)))
        self._keep(key, request.data_type, ctx)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        descriptor, key = descriptor_of(value), current_key(ctx)
        try:
            announced = parse(descriptor)
        except ModelError:
            return
        data_type = announced.data_type
        yield from self._ready(key, data_type, ctx)
        if self._acting.setdefault(data_type, key) == key:
            yield from to_rows(self._executor.announce(descriptor, announced))
        yield from _rows(self._executor.take(key))
        self._keep(key, data_type, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = current_key(ctx)
        _, data_type = lane_and_type(key)
        yield from self._ready(key, data_type, ctx)
        if ctx.time_domain() == TimeDomain.EVENT_TIME:  # the end of the input
            yield from _rows(self._executor.end(key))
            yield from to_rows(self._executor.stats(data_type))
        else:
            yield from _rows(self._executor.take(key))
            yield from to_rows(self._executor.stats(data_type, self._spec.scoring.stats_ms))
            self._ticks.again(ctx.timer_service())
        self._keep(key, data_type, ctx)

    def _ready(self, key: str, data_type: str, ctx: Any) -> Iterator[Any]:
        self._ticks.start(key, ctx.timer_service())
        if not self._executor.knows(data_type):
            yield from to_rows(self._executor.restore(data_type, self._logs.value()))
        if key not in self._listed:
            stored = self._unanswered.value()
            self._listed[key] = decode_pending(bytes(stored)) if stored else []
            yield from _rows(self._executor.restarted(self._listed[key]))
        yield from to_rows(self._executor.poll())

    def _keep(self, key: str, data_type: str, ctx: Any) -> None:
        revision = self._executor.revision(data_type)
        if self._stored.get(key, 0) != revision:
            self._stored[key] = revision
            self._logs.update(self._executor.log(data_type))
        pending = self._executor.pending(key)
        if pending != self._listed[key]:
            self._listed[key] = pending
            if pending:
                self._unanswered.update(encode_pending(pending))
            else:
                self._unanswered.clear()
        again = self._executor.look_again_ms(key)
        if again is not None:
            self._look_again(key, again, ctx.timer_service())

    def _look_again(self, key: str, ms: int, timers: TimerService) -> None:
        now = timers.current_processing_time()
        if not now < self._due.get(key, 0) <= now + ms:  # one timer is enough for all that is pending
            self._due[key] = now + ms
            timers.register_processing_time_timer(now + ms)


def _rows(answers: Iterable[Answer]) -> Iterator[Any]:
    return map(answer_row, answers)
