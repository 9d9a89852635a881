"""Where prediction requests get their features: looked up a block at a time, the rest made on demand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimerService
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from operators.block_row import block_of, to_rows
from operators.features.assembly_rows import made_rows, outcome_rows
from operators.keyed_table import current_key
from operators.ticks import END_OF_INPUT
from udfs.enrichment.assembly_spec import Assembling, AssemblySpec
from udfs.enrichment.base import PredictionRequest
from udfs.enrichment.requests import requests_of
from udfs.enrichment.wire import read_request, write_request

_TICK_MS = 10


class AssembleRequests(KeyedProcessFunction):
    """Blocks of requests, keyed by lane.

    Main output: rows of RESULTS, the scoring input. Side outputs: EXPIRED, DEAD_LETTERS, and what was created
    on demand as MADE and HISTORY. What a lane has open is in its state whenever a call here has returned, and
    its outcomes leave under its key: a checkpoint has either the request or its outcome. After a restart
    requests are looked up again; their deadlines stay.
    """

    def __init__(self, spec: AssemblySpec) -> None:
        self._spec = spec
        self._opened: Assembling | None = None

    def open(self, context: RuntimeContext) -> None:
        self._own = self._opened = self._spec.assembling()
        descriptor = MapStateDescriptor("open-requests", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        self._state = context.get_map_state(descriptor)
        self._stored: dict[str, set[str]] = {}  # as in state; a lane is in it once it has been seen
        self._due: dict[str, int] = {}

    def close(self) -> None:
        if self._opened is not None:  # `close` also runs where `open` failed
            self._opened.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        lane, timers = current_key(ctx), ctx.timer_service()
        requests, letters = requests_of(block_of(value))
        yield from self._taken(lane, self._restored(lane, timers) | requests, timers)
        yield from to_rows(letters)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        lane, timers = current_key(ctx), ctx.timer_service()
        yield from self._taken(lane, self._restored(lane, timers), timers)
        if timestamp == END_OF_INPUT:  # wait for what is open, each up to its deadline
            while self._own.assembler.open(lane):
                self._own.creator.wait(_TICK_MS / 1000)
                yield from self._taken(lane, {}, timers)

    def _taken(
        self, lane: str, requests: dict[str, PredictionRequest], timers: TimerService
    ) -> Iterator[Any]:
        assembler, now = self._own.assembler, timers.current_processing_time()
        outcomes = assembler.take(lane, requests, now) if requests else assembler.tick(lane, now)
        self._keep(lane, now, timers)
        yield from made_rows(assembler.created())
        yield from outcome_rows(outcomes, now)

    def _restored(self, lane: str, timers: TimerService) -> dict[str, PredictionRequest]:
        """What was open when the lane's state was written, the first time that the lane is seen."""
        if lane in self._stored:
            return {}
        timers.register_event_time_timer(END_OF_INPUT)
        names = sorted(map(str, self._state.keys()))
        self._stored[lane] = {*names}
        return {name: read_request(bytes(self._state.get(name)), 0) for name in names}

    def _keep(self, lane: str, now: int, timers: TimerService) -> None:
        stored, still = self._stored[lane], self._own.assembler.open(lane)
        for name in stored - still.keys():
            self._state.remove(name)
        for name in still.keys() - stored:
            self._state.put(name, write_request(still[name]))
        self._stored[lane] = {*still}
        if still and self._due.get(lane, 0) <= now:
            # Aligned, so that a timer that came back with the state and a new one are the same timer.
            self._due[lane] = (now // _TICK_MS + 1) * _TICK_MS
            timers.register_processing_time_timer(self._due[lane])
