"""Where predictions and outcomes meet: the pure join with its state, its timers and its outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from pyflink.common import Row
from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedCoProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.features.feature_rows import HISTORY
from operators.flink_internals import current_key
from operators.key_groups import KeyGroups
from operators.lifecycle.outcome_rows import COUNTS, EVIDENCE, by_data_type, messages, settled_row
from operators.lifecycle.outcome_state import OutcomeState
from operators.rows import to_rows
from operators.timers import KeyTimers
from udfs.lifecycle.outcomes.counting import counted_columns
from udfs.lifecycle.outcomes.evidence import evidence
from udfs.lifecycle.outcomes.fates import Fates
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.joining import Joined, Joining
from udfs.lifecycle.outcomes.letters import crowded_letters, outcome_letters
from udfs.lifecycle.outcomes.messages import Delivery, decode_delivery
from udfs.lifecycle.outcomes.progress import END, UNKNOWN, ReadTo
from udfs.lifecycle.outcomes.rows import to_rows as store_rows
from udfs.stores.history.lines import to_lines


class JoinOutcomes(KeyedCoProcessFunction):
    """Predictions on input 1, outcomes on input 2, both values of DELIVERY under the key of the instance.

    Main output: rows of SETTLED, for quality. Side outputs: HISTORY (the prediction store), EVIDENCE, COUNTS
    and DEAD_LETTERS.
    """

    def __init__(self, spec: JoinSpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._spec, self._groups = spec, groups

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._state = OutcomeState(context, self._groups)
        self._timers = KeyTimers(self._spec.timer_ms)
        self._results, self._outcomes = self._spec.read_to(), self._spec.read_to()
        self._told = self._settled_to = 0

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        yield from self._take(value, ctx, self._results, Joining.results)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        yield from self._take(value, ctx, self._outcomes, Joining.outcomes)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Iterator[Any]:
        key, now = current_key(ctx), _now()
        if key != self._state.groups.key:  # of an instance at another parallelism
            return
        self._begin(ctx)
        joining = Joining(self._spec.terms, self._state, self._fates, now)
        if ctx.time_domain() == TimeDomain.EVENT_TIME:  # the end of the input
            joining.close(END, END)
            yield from self._done(ctx, joining.done(), now)
            yield from self._tell(now, END)
        elif self._timers.due(key, timestamp):
            read_to, results_to = self._outcomes.at(now), self._results.at(now)
            if self._spec.to_the_end:
                read_to = results_to = UNKNOWN
            more = joining.close(read_to, results_to, self._spec.most_a_timer)
            yield from self._done(ctx, joining.done(), now)
            if not more and now - self._told >= self._spec.told_ms:
                terms = self._spec.terms
                yield from self._tell(now, read_to - terms.window - terms.grace - terms.step)
            self._timers.again(key, ctx.timer_service(), timestamp)

    def _begin(self, ctx: Any) -> None:
        """At the first call take up the state; there is a timer for this instance from then on."""
        if not self._timers.runs(key := current_key(ctx)):
            self._others = self._state.load()
            self._fates = self._others.pop(self._state.groups.own.start, Fates())
            self._state.groups.leave(key)
            self._timers.start(key, ctx.timer_service())

    def _take(
        self, value: Any, ctx: Any, read_to: ReadTo, join: Callable[[Joining, Delivery], None]
    ) -> Iterator[Any]:
        delivery, now = decode_delivery(bytes(value)), _now()
        self._begin(ctx)
        if delivery.reader:  # which holds nothing else
            read_to.told(delivery.reader, delivery.reached)
            return
        joining = Joining(self._spec.terms, self._state, self._fates, now)
        join(joining, delivery)
        yield from self._done(ctx, joining.done(), now)

    def _done(self, ctx: Any, joined: Joined, now: int) -> Iterator[Any]:
        self._state.keep_fates(self._fates)
        self._state.groups.leave(current_key(ctx))
        for data_type, settled in by_data_type(joined.settled).items():
            judging = self._spec.judged.get(data_type)
            if judging is None:  # of a savepoint from before it was no longer judged
                continue
            counted = counted_columns(judging)
            rows = store_rows(settled, judging, now, None if self._spec.store else counted)
            if self._spec.store:
                yield HISTORY, Row(data_type, to_lines(rows))
            yield settled_row(data_type, self._state.groups.own, self._settled_to, rows.select(counted))
        for data_type, closed in by_data_type(joined.closed).items():
            if judging := self._spec.judged.get(data_type):
                for batch in messages(evidence(closed, judging, now)):
                    yield EVIDENCE, batch
        yield from to_rows([*outcome_letters(joined.dead), *crowded_letters(joined.crowded)])

    def _tell(self, now: int, settled_to: int) -> Iterator[Any]:
        self._told, self._settled_to = now, max(settled_to, self._settled_to)
        own = self._state.groups.own
        for data_type in self._spec.judged:
            yield settled_row(data_type, own, self._settled_to, None)
        fates, self._others = {own.start: self._fates, **self._others}, {}
        for batch in messages([of.told(group, now) for group, of in fates.items()]):
            yield COUNTS, batch


def _now() -> int:
    return time.time_ns() // 1_000_000
