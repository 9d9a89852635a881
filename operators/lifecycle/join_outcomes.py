"""Where predictions and outcomes meet: the pure join with its state, its timers and its outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyflink.common import Row
from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.features.feature_rows import HISTORY
from operators.flink_internals import current_key
from operators.lifecycle.outcome_rows import COUNTS, EVIDENCE, by_data_type, messages, settled_row
from operators.lifecycle.outcome_state import OutcomeState
from operators.rows import to_rows
from operators.timers import KeyTimers
from udfs.lifecycle.outcomes.counting import COUNTED
from udfs.lifecycle.outcomes.evidence import evidence
from udfs.lifecycle.outcomes.fates import Fates
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.joining import Joined, Joining
from udfs.lifecycle.outcomes.letters import crowded_letters, outcome_letters
from udfs.lifecycle.outcomes.messages import decode_delivery
from udfs.lifecycle.outcomes.progress import END, Reached
from udfs.lifecycle.outcomes.rows import to_rows as store_rows
from udfs.stores.history.lines import to_lines


@dataclass(slots=True)
class _JoinShard:
    fates: Fates
    results: Reached
    outcomes: Reached
    told: int = 0
    settled_to: int = 0


class JoinOutcomes(KeyedCoProcessFunction):
    """Predictions on input 1, outcomes on input 2, both values of DELIVERY under the key of their shard.

    Main output: rows of SETTLED, for quality. Side outputs: HISTORY (the prediction store), EVIDENCE, COUNTS
    and DEAD_LETTERS.
    """

    def __init__(self, spec: JoinSpec, keys: tuple[str, ...]) -> None:
        self._code = code_digest()
        self._spec, self._keys = spec, keys

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._numbers = {key: shard for shard, key in enumerate(self._keys)}
        self._state = OutcomeState(context)
        self._timers = KeyTimers(self._spec.timer_ms)
        self._shards: dict[str, _JoinShard] = {}

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        delivery, shard, now = decode_delivery(bytes(value)), self._shard(ctx), _now()
        shard.results.heard(delivery.newest, now)
        shard.fates.results_read(delivery.passed_over, delivery.refused)
        joining = Joining(self._spec.terms, self._state, shard.fates, now)
        for key, predicted in delivery.predictions:
            joining.predict(key, predicted)
        yield from self._done(ctx, shard, joining.done(), now)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        delivery, shard, now = decode_delivery(bytes(value)), self._shard(ctx), _now()
        shard.outcomes.heard(delivery.newest, now)
        shard.fates.outcomes_read(delivery.refused)
        joining = Joining(self._spec.terms, self._state, shard.fates, now)
        for key, came in delivery.outcomes:
            joining.come(key, came)
        yield from self._done(ctx, shard, joining.done(), now)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        shard, key, now = self._shard(ctx), current_key(ctx), _now()
        joining = Joining(self._spec.terms, self._state, shard.fates, now)
        if ctx.time_domain() == TimeDomain.EVENT_TIME:  # the end of the input
            joining.close(END, END)
            yield from self._done(ctx, shard, joining.done(), now)
            yield from self._told(shard, key, now, END)
        elif self._timers.due(key, timestamp):
            read_to, results_to = shard.outcomes.at(now), shard.results.at(now)
            if self._spec.to_the_end:
                read_to = results_to = -1
            more = joining.close(read_to, results_to, self._spec.most_a_timer)
            yield from self._done(ctx, shard, joining.done(), now)
            if not more and now - shard.told >= self._spec.told_ms:
                terms = self._spec.terms
                yield from self._told(shard, key, now, read_to - terms.window - terms.grace - terms.step)
            self._timers.again(key, ctx.timer_service())

    def _shard(self, ctx: Any) -> _JoinShard:
        key = current_key(ctx)
        self._state.at(key)
        found = self._shards.get(key)
        if found is None:
            now = _now()
            found = _JoinShard(self._state.fates(), self._spec.reached(now), self._spec.reached(now))
            self._shards[key] = found
            self._timers.start(key, ctx.timer_service())
        return found

    def _done(self, ctx: Any, shard: _JoinShard, joined: Joined, now: int) -> Iterator[Any]:
        self._state.keep_fates(shard.fates)
        number = self._numbers[current_key(ctx)]
        for data_type, settled in by_data_type(joined.settled).items():
            judging = self._spec.judged.get(data_type)
            if judging is None:  # of a savepoint from before it was no longer judged
                continue
            rows = store_rows(settled, judging, now)
            if self._spec.store:
                yield HISTORY, Row(data_type, to_lines(rows))
            for batch in messages(evidence(settled, judging, now)):
                yield EVIDENCE, batch
            counted = rows.select([*COUNTED, *judging.slices])
            yield settled_row(data_type, number, shard.settled_to, counted)
        yield from to_rows([*outcome_letters(joined.dead), *crowded_letters(joined.crowded)])

    def _told(self, shard: _JoinShard, key: str, now: int, settled_to: int) -> Iterator[Any]:
        shard.told, shard.settled_to = now, max(settled_to, shard.settled_to)
        number = self._numbers[key]
        for data_type in self._spec.judged:
            yield settled_row(data_type, number, shard.settled_to, None)
        for batch in messages([shard.fates.told(number, now)]):
            yield COUNTS, batch


def _now() -> int:
    return time.time_ns() // 1_000_000
