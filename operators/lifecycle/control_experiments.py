"""Evidence meets orders: what experiments have shown, and the plans that follow from it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import replace
from pyflink.common.typeinfo import Types
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext
from pyflink.datastream.output_tag import OutputTag
from pyflink.datastream.state import MapStateDescriptor

from operators.code_guard import check_code, code_digest
from operators.flink_internals import current_key
from operators.lifecycle.counted_entities import CountedEntities
from operators.rows import OUTPUTS
from operators.timers import KeyTimers
from schemas.errors import ModelError, StatisticsError
from schemas.lifecycle.experiments import ExperimentEvent, write_event
from schemas.lifecycle.quality import EvidenceBatch, read_message
from schemas.micro_batch import decode_micro_batch
from schemas.output_batch import encode_output_batch
from udfs.lifecycle.experiments.controlling import Controller, PlanOrdered, Said
from udfs.lifecycle.experiments.promoting import move_alias, take_back_alias
from udfs.models.descriptor import DECIDE, build, parse
from udfs.models.signing.signer import SignsWith
from udfs.models.stream_key import stream_key

EXPERIMENTS = OutputTag("experiments", OUTPUTS)
_MOVES = {"promoted": move_alias, "stopped": take_back_alias}
"""What becomes of the registry's alias: what is stopped may have been promoted by a plan that jobs refuse."""


class ControlExperiments(KeyedCoProcessFunction):
    """Micro-batches of evidence on input 1, descriptors on input 2, both under the one key of one instance.

    Main output: plans, as descriptors. Side output: EXPERIMENTS, events. All that decides is in keyed state:
    an experiment each (`experiments`), the entities that were counted (`entities`), and what is known of the
    plans of each data type (`plans`). `registry`: its URL, where a promotion moves the alias; empty: nowhere.
    `signs`: how plans are signed; None: not at all. `most_jump`: of versions, as the jobs have it; None: any.
    """

    def __init__(
        self,
        stats_ms: int,
        registry: str = "",
        signs: SignsWith | None = None,
        most_jump: int | None = None,
    ) -> None:
        self._code = code_digest()
        self._stats_ms, self._registry, self._signs, self._most_jump = stats_ms, registry, signs, most_jump

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._signer = None if self._signs is None else self._signs.signer()
        pickled = Types.PICKLED_BYTE_ARRAY()
        self._logs = context.get_map_state(MapStateDescriptor("experiments", Types.STRING(), pickled))
        self._plans = context.get_map_state(MapStateDescriptor("plans", Types.STRING(), pickled))
        entities = context.get_map_state(MapStateDescriptor("entities", Types.STRING(), pickled))
        self._controller = Controller(CountedEntities(entities), self._most_jump)
        self._timers = KeyTimers(self._stats_ms)
        self._read = False

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        self._ready(ctx)
        batch = decode_micro_batch(value)
        for row, message in enumerate(batch.payloads):
            if row in batch.null_payloads:
                continue
            try:
                evidence = read_message(EvidenceBatch, message)
            except StatisticsError as e:
                yield from self._rows([_refused(str(e))])
                continue
            yield from self._rows(self._controller.evidence(evidence, _now()))
        self._keep()

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        self._ready(ctx)
        try:
            published = parse(bytes(value))
        except ModelError:
            return  # the jobs that serve say so
        yield from self._rows(self._controller.published(published, _now()))
        self._keep()

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        self._ready(ctx)
        yield from self._rows(self._controller.on_timer(_now()))
        if self._timers.due(current_key(ctx), timestamp):
            self._timers.again(current_key(ctx), ctx.timer_service(), timestamp)
        self._keep()

    def _ready(self, ctx: Any) -> None:
        self._timers.start(current_key(ctx), ctx.timer_service())
        if not self._read:
            self._read = True
            for _, log in self._logs.items():
                self._controller.restore(bytes(log))
            for data_type, log in self._plans.items():
                self._controller.plans.restore(data_type, bytes(log))

    def _keep(self) -> None:
        for name in self._controller.changed():
            self._logs.put(name, self._controller.log(name))
        for data_type in self._controller.plans.changed():
            self._plans.put(data_type, self._controller.plans.log(data_type))

    def _rows(self, said: Iterable[Said]) -> Iterator[Any]:
        for one in said:
            if isinstance(one, PlanOrdered):
                descriptor = build(
                    data_type=one.data_type,
                    name=one.name,
                    version=one.version,
                    created_ms=_now(),
                    operation=DECIDE,
                    plan=one.plan.decode(),
                    description=one.why,
                )
                signed = descriptor if self._signer is None else self._signer.sign(descriptor)
                yield encode_output_batch([signed], [None], [stream_key(parse(descriptor))])
                continue
            told = one
            if one.alias and one.kind in _MOVES:
                moved = _MOVES[one.kind](self._registry, one)
                told = replace(one, reason="; ".join(filter(None, (one.reason, moved))))
            yield EXPERIMENTS, encode_output_batch([write_event(told)], [told.at], [told.key.encode()])


def _refused(reason: str) -> ExperimentEvent:
    return ExperimentEvent(kind="refused", experiment="", data_type="", at=_now(), reason=reason)


def _now() -> int:
    return time.time_ns() // 1_000_000
