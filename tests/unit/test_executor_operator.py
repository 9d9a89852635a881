"""The executor in its Flink function, with state and timers that a test can look into; no JVM."""

from __future__ import annotations

import copy
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from pyflink.common import Row
from pyflink.datastream import TimeDomain

from operators.ensemble.executor import ExecutorOperator
from operators.ensemble.speculation_rows import answers_of, request_row
from operators.rows import MODEL_EVENTS, MODEL_STATS
from schemas.micro_batch import encode_micro_batch
from schemas.results.answers import Answer, AnswerOutcome, Asked, Reason, Request
from schemas.results.records import ModelEvent, decode
from tests.executor_fakes import STICKS, WAIT, Bench, Sticking
from tests.flink_fakes import FOUR_GROUPS, KeyedContext
from tests.output_batches import messages_of
from tests.serving_fakes import batch_of
from udfs.ensemble.execution.executor import Executor
from udfs.ensemble.execution.executor_spec import ExecutorSpec
from udfs.ensemble.execution.job import PendingCall, decode_pending
from udfs.models.descriptor import DECIDE, build
from udfs.serving.scoring_spec import ScoringSpec

KEY, OTHER = "2", "3"
"""Of the key groups of instance 1 of 2; it works under the first."""


class Flink:
    """An instance of the operator, its keyed state and timers. `states` are of a savepoint."""

    def __init__(
        self, states: dict[str, dict[str, Any]] | None = None, index: int = 1, parallelism: int = 2
    ) -> None:
        self.store = KeyedContext(states, index, parallelism)
        self.subtasks: list[int] = []
        self.bench = Bench(restored=False)
        self.timers: set[int] = set()
        self.events: list[str] = []
        spec: Any = SimpleNamespace(scoring=ScoringSpec(), executor=self._executor)
        self.operator = ExecutorOperator(spec, FOUR_GROUPS)
        self.operator.open(self.store)  # type: ignore[arg-type]
        self.key = KEY

    def _executor(self, subtask: int, restarted: bool) -> Executor:
        self.subtasks.append(subtask)
        return self.bench.executor

    @property
    def key(self) -> str:
        return self.store.key

    @key.setter
    def key(self, key: str) -> None:
        self.store.key = key

    def pending(self, key: str = KEY) -> list[PendingCall]:
        """What is in state."""
        stored = self.store.states["pending"].get(key)
        assert stored is None or decode_pending(stored), "nothing pending is nothing in state"
        return [] if stored is None else decode_pending(stored)

    def context(self, domain: Any = None) -> Any:
        timers = SimpleNamespace(
            register_event_time_timer=lambda t: None,
            register_processing_time_timer=self.timers.add,
            current_processing_time=lambda: int(self.bench.hands.now),
        )
        return SimpleNamespace(
            get_current_key=lambda: [self.key], timer_service=lambda: timers, time_domain=lambda: domain
        )

    def sent(self, rows: Any) -> list[Answer]:
        answers = []
        for row in rows:
            if isinstance(row, Row):
                assert row[0] == self.key
                answers += answers_of(row[1])
            elif row[0] is MODEL_EVENTS:
                events = [decode(ModelEvent, message.value) for message in messages_of(row[1])]
                self.events += [f"{event.kind} {event.name} {event.version}" for event in events]
            else:
                assert row[0] is MODEL_STATS
        return answers

    def model(self, descriptor: bytes) -> list[Answer]:
        return self.sent(self.operator.process_element2(descriptor, self.context()))

    def ask(self, name: str, number: float = 1.0, ms: int = 100, key: str = KEY) -> list[Answer]:
        self.key = key
        self.bench.batches += 1
        now = int(self.bench.hands.now)
        request = Request(f"b{self.bench.batches}", "t", now, now + ms, (Asked(name),))
        packed = encode_micro_batch(batch_of([b'{"a":%f}' % number]))
        _, value = request_row(key, request, packed)
        return self.sent(self.operator.process_element1(value, self.context()))

    def stick(self, name: str) -> None:
        """Ask for a call that does not return, and wait until it is under way."""
        assert self.ask(name, STICKS) == []
        runtime = self.bench.loader.of(name)[-1]
        assert isinstance(runtime, Sticking) and runtime.entered.acquire(timeout=WAIT)

    def on_timer(self, domain: Any = TimeDomain.PROCESSING_TIME) -> list[Answer]:
        return self.sent(self.operator.on_timer(int(self.bench.hands.now), self.context(domain)))

    def until(self, reached) -> list[Answer]:
        """Let timers fire until it is so; the answers on the way."""
        got: list[Answer] = []
        pause = threading.Event()
        for _ in range(WAIT * 500):
            got += self.on_timer()
            if reached(got):
                return got
            pause.wait(0.002)
        raise AssertionError(f"waited in vain; events so far: {self.events}")

    def serve(self, name: str) -> None:
        self.model(build(data_type="t", name=name, version=1, data=b"x", model_type="PMML"))
        self.until(lambda got: f"served {name} 1" in self.events)

    def close(self) -> None:
        self.bench.loader.let_all_go()
        self.operator.close()


@pytest.fixture
def make():
    made: list[Flink] = []

    def flink(states=None, **more) -> Flink:
        made.append(Flink(states, **more))
        return made[-1]

    yield flink
    for one in made:
        one.close()


def outcomes(answers: list[Answer]) -> list[tuple[str, AnswerOutcome, str]]:
    return [(a.batch_id, a.outcome, a.reason) for a in answers]


def test_a_request_becomes_an_answer_and_state_is_left_alone(make):
    flink = make()
    flink.serve("a")
    answers = flink.ask("a", ms=60_000)
    answers += flink.until(lambda got: len(answers + got) == 1)
    assert outcomes(answers) == [("b1", AnswerOutcome.SCORED, "")]
    assert not flink.pending()


def test_what_is_pending_is_in_state_until_it_has_been_answered(make):
    flink = make()
    flink.serve("a")
    flink.stick("a")
    (listed,) = flink.pending()
    assert (listed.batch_id, listed.candidate) == ("b1", "a")
    flink.store.updates.clear()
    assert flink.on_timer() == [] and flink.store.updates == [], "nothing new, nothing written"
    flink.bench.loader.let_all_go()
    assert outcomes(flink.until(bool)) == [("b1", AnswerOutcome.SCORED, "")]
    assert not flink.pending()


def test_an_answer_leaves_under_its_own_key_only(make):
    flink = make()
    flink.serve("a")
    flink.ask("a", STICKS, key=OTHER)
    flink.bench.loader.let_all_go()
    flink.key = KEY
    flink.bench.executor._completions.wait(list(flink.bench.executor._pending[OTHER]), WAIT * 1000)
    assert flink.on_timer() == [] and flink.pending(OTHER)
    flink.key = OTHER
    assert len(flink.on_timer()) == 1 and not flink.pending(OTHER)


def test_a_timer_looks_for_late_answers_and_one_is_enough(make):
    flink = make()
    flink.serve("a")
    flink.timers.clear()
    now = int(flink.bench.hands.now)
    flink.stick("a")
    flink.ask("a")
    assert flink.timers == {now + 1}
    flink.bench.hands.now += 200
    flink.timers.clear()
    flink.on_timer()
    assert now + 250 in flink.timers, "in no hurry any more"


def test_a_clock_that_is_set_back_does_not_hold_the_task_up(make):
    """Flink fires a timer that is set for no later time than the one that fires at once, for ever."""
    flink = make()
    flink.serve("m")
    flink.timers.clear()
    flink.stick("m")
    (fired,) = flink.timers
    flink.timers.clear()
    flink.bench.hands.now -= 50
    flink.sent(flink.operator.on_timer(fired, flink.context(TimeDomain.PROCESSING_TIME)))
    assert flink.timers and min(flink.timers) > fired


def test_after_a_restart_candidates_are_loaded_and_the_pending_declined_once(make):
    flink = make()
    flink.serve("a")
    flink.stick("a")
    again = make(copy.deepcopy(dict(flink.store.states)))
    assert outcomes(again.on_timer()) == [("b1", AnswerOutcome.DECLINED, Reason.RESTARTED)]
    assert not again.pending()
    again.until(lambda got: "served a 1" in again.events)
    answers = again.ask("a")
    answers += again.until(lambda got: len(answers + got) == 1)
    assert outcomes(answers) == [("b1", AnswerOutcome.SCORED, "")]


def test_the_log_lies_under_the_key_of_each_key_group_of_the_instance(make):
    flink = make()
    flink.model(build(data_type="t", name="a", version=1, data=b"x", model_type="PMML"))
    logs = flink.store.states["candidate-logs"]
    assert set(logs) == {KEY, OTHER} and logs[KEY] == logs[OTHER] != {}
    assert flink.key == KEY and flink.subtasks == [1]


@pytest.mark.parametrize(("index", "key"), [(2, KEY), (3, OTHER)])
def test_another_parallelism_finds_the_candidates(make, index: int, key: str):
    flink = make()
    flink.serve("a")
    again = make(copy.deepcopy(dict(flink.store.states)), index=index, parallelism=4)
    answers = again.ask("a", key=key)
    assert "served a 1" in again.events
    answers += again.until(lambda got: len(answers + got) == 1)
    assert outcomes(answers) == [("b1", AnswerOutcome.SCORED, "")]


def test_the_end_of_the_input_leaves_nothing_behind(make):
    flink = make()
    flink.serve("a")
    flink.stick("a")
    flink.bench.hands.now += 200
    answers = flink.on_timer(TimeDomain.EVENT_TIME)
    assert outcomes(answers) == [("b1", AnswerOutcome.DECLINED, Reason.ENDED)]
    assert not flink.pending()


def test_plans_and_what_cannot_be_read_are_the_routers_business(make):
    flink = make()
    assert flink.model(b"\xff") == []
    assert flink.model(build(data_type="t", operation=DECIDE)) == []
    assert flink.events == []


def test_closing_what_was_never_opened():
    ExecutorOperator(ExecutorSpec("PMML"), FOUR_GROUPS).close()
