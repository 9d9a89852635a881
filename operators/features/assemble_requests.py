"""Where prediction requests get their features: looked up in batches, the rest made on demand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimerService
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from operators.code_guard import check_code, code_digest
from operators.features.assembly_rows import made_rows, outcome_rows
from operators.flink_internals import current_key
from operators.rows import to_rows
from operators.timers import END_OF_INPUT
from schemas.micro_batch import decode_micro_batch
from udfs.enrichment.assembly_spec import Assembling, AssemblySpec
from udfs.enrichment.base import PredictionRequest
from udfs.enrichment.requests import requests_of
from udfs.enrichment.wire import kept_request, write_request

_TIMER_MS = 10


class AssembleRequests(KeyedProcessFunction):
    """Micro-batches of requests, under the key of the instance that read them.

    Main output: OUTPUTS, the scoring input. Side outputs: EXPIRED, DEAD_LETTERS, and what was created
    on demand as MADE and HISTORY. What a key has open is in its state whenever a call here has returned, and
    its outcomes leave under it: a checkpoint has either the request or its outcome. After a restart
    requests are looked up again; their deadlines stay.
    """

    def __init__(self, spec: AssemblySpec) -> None:
        self._code = code_digest()
        self._spec = spec
        self._opened: Assembling | None = None

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._own = self._opened = self._spec.assembling()
        descriptor = MapStateDescriptor("open-requests", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        self._state = context.get_map_state(descriptor)
        self._stored: dict[str, set[str]] = {}  # as in state; a key is in it once it has been seen
        self._due: dict[str, int] = {}

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        key, timers = current_key(ctx), ctx.timer_service()
        requests, letters = requests_of(decode_micro_batch(value))
        yield from self._taken(key, self._restored(key, timers) | requests, timers)
        yield from to_rows(letters)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        key, timers = current_key(ctx), ctx.timer_service()
        yield from self._taken(key, self._restored(key, timers), timers)
        if timestamp == END_OF_INPUT:  # wait for what is open, each up to its deadline
            while self._own.assembler.open(key):
                self._own.creator.wait(_TIMER_MS / 1000)
                yield from self._taken(key, {}, timers)

    def _taken(self, key: str, requests: dict[str, PredictionRequest], timers: TimerService) -> Iterator[Any]:
        assembler, now = self._own.assembler, timers.current_processing_time()
        outcomes = assembler.take(key, requests, now) if requests else assembler.on_timer(key, now)
        self._keep(key, now, timers)
        yield from made_rows(assembler.created())
        yield from outcome_rows(outcomes, now)

    def _restored(self, key: str, timers: TimerService) -> dict[str, PredictionRequest]:
        """What was open when the key's state was written, the first time that the key is seen."""
        if key in self._stored:
            return {}
        timers.register_event_time_timer(END_OF_INPUT)
        names = sorted(map(str, self._state.keys()))
        self._stored[key] = {*names}
        return {name: kept_request(bytes(self._state.get(name))) for name in names}

    def _keep(self, key: str, now: int, timers: TimerService) -> None:
        stored, still = self._stored[key], self._own.assembler.open(key)
        for name in stored - still.keys():
            self._state.remove(name)
        for name in still.keys() - stored:
            self._state.put(name, write_request(still[name]))
        self._stored[key] = {*still}
        if still and self._due.get(key, 0) <= now:
            # Aligned, so that a timer that came back with the state and a new one are the same timer.
            self._due[key] = (now // _TIMER_MS + 1) * _TIMER_MS
            timers.register_processing_time_timer(self._due[key])
