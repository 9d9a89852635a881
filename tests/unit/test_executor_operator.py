"""The executor in its Flink function, with state and timers that a test can look into; no JVM."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from operators.block_row import MODEL_EVENTS, MODEL_STATS, row_of
from pyflink.common import Row
from pyflink.datastream import TimeDomain

from operators.ensemble.executor import ExecutorOperator
from operators.ensemble.speculation_rows import answer_of, request_row
from schemas.micro_batch import encode_micro_batch
from schemas.results.answers import Answer, AnswerOutcome, Asked, Reason, Request
from schemas.results.records import ModelEvent, decode
from tests.executor_fakes import STICKS, WAIT, Bench, Sticking
from tests.serving_fakes import batch_of
from udfs.ensemble.execution.executor_spec import ExecutorSpec
from udfs.ensemble.execution.job import decode_pending
from udfs.models.descriptor import DECIDE, build
from udfs.serving.scoring_spec import ScoringSpec

KEY = "0/t"


class Flink:
    """Keyed state and timers, and an operator in it. `state` outlives the operator, as in a savepoint."""

    def __init__(self, state: dict[tuple[str, str], Any] | None = None) -> None:
        self.state = state if state is not None else {}
        self.bench = Bench(restored=False)
        self.timers: set[int] = set()
        self.events: list[str] = []
        self.key = KEY
        self.updates: list[str] = []
        spec: Any = SimpleNamespace(scoring=ScoringSpec(), executor=lambda subtask: self.bench.executor)
        self.operator = ExecutorOperator(spec)
        java = SimpleNamespace(getTaskInfo=lambda: SimpleNamespace(getIndexOfThisSubtask=lambda: 3))
        context: Any = SimpleNamespace(_runtime_context=java, get_state=self.keyed)
        self.operator.open(context)

    def keyed(self, descriptor: Any) -> Any:
        name = descriptor.name

        def update(value: Any) -> None:
            self.updates.append(name)
            self.state[self.key, name] = value

        return SimpleNamespace(
            value=lambda: self.state.get((self.key, name)),
            update=update,
            clear=lambda: self.state.pop((self.key, name), None),
        )

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
                answers.append(msgspec.msgpack.decode(answer_of(row[1]), type=Answer))
            elif row[0] is MODEL_EVENTS:
                event = decode(ModelEvent, row[1][1])
                self.events.append(f"{event.kind} {event.name} {event.version}")
            else:
                assert row[0] is MODEL_STATS
        return answers

    def model(self, descriptor: bytes) -> list[Answer]:
        return self.sent(self.operator.process_element2(Row(descriptor), self.context()))

    def ask(self, name: str, number: float = 1.0, ms: int = 100, key: str = KEY) -> list[Answer]:
        self.key = key
        self.bench.blocks += 1
        now = int(self.bench.hands.now)
        request = Request(f"b{self.bench.blocks}", "t", now, now + ms, (Asked(name),))
        _, block = row_of(key, encode_micro_batch(batch_of([b'{"a":%f}' % number])))
        _, value = request_row(key, request, block)
        return self.sent(self.operator.process_element1(value, self.context()))

    def stick(self, name: str) -> None:
        """Ask for a call that does not return, and wait until it is under way."""
        assert self.ask(name, STICKS) == []
        runtime = self.bench.loader.of(name)[-1]
        assert isinstance(runtime, Sticking) and runtime.entered.acquire(timeout=WAIT)

    def tick(self, domain: Any = TimeDomain.PROCESSING_TIME) -> list[Answer]:
        return self.sent(self.operator.on_timer(int(self.bench.hands.now), self.context(domain)))

    def until(self, reached) -> list[Answer]:
        """Let timers fire until it is so; the answers on the way."""
        got: list[Answer] = []
        tick = threading.Event()
        for _ in range(WAIT * 500):
            got += self.tick()
            if reached(got):
                return got
            tick.wait(0.002)
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

    def flink(state=None) -> Flink:
        made.append(Flink(state))
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
    assert (KEY, "pending") not in flink.state


def test_what_is_pending_is_in_state_until_it_has_been_answered(make):
    flink = make()
    flink.serve("a")
    flink.stick("a")
    (listed,) = decode_pending(flink.state[KEY, "pending"])
    assert (listed.batch_id, listed.candidate) == ("b1", "a")
    flink.updates.clear()
    assert flink.tick() == [] and flink.updates == [], "nothing new, nothing written"
    flink.bench.loader.let_all_go()
    assert outcomes(flink.until(bool)) == [("b1", AnswerOutcome.SCORED, "")]
    assert (KEY, "pending") not in flink.state


def test_an_answer_leaves_under_its_own_key_only(make):
    flink = make()
    flink.serve("a")
    flink.ask("a", STICKS, key="1/t")
    flink.bench.loader.let_all_go()
    flink.key = KEY
    flink.bench.executor._completions.wait(list(flink.bench.executor._pending["1/t"]), WAIT * 1000)
    assert flink.tick() == [] and ("1/t", "pending") in flink.state
    flink.key = "1/t"
    assert len(flink.tick()) == 1 and ("1/t", "pending") not in flink.state


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
    flink.tick()
    assert now + 250 in flink.timers, "in no hurry any more"


def test_after_a_restart_candidates_are_loaded_and_the_pending_declined_once(make):
    flink = make()
    flink.serve("a")
    flink.stick("a")
    again = make(dict(flink.state))
    assert outcomes(again.tick()) == [("b1", AnswerOutcome.DECLINED, Reason.RESTARTED)]
    assert (KEY, "pending") not in again.state
    again.until(lambda got: "served a 1" in again.events)
    answers = again.ask("a")
    answers += again.until(lambda got: len(answers + got) == 1)
    assert outcomes(answers) == [("b1", AnswerOutcome.SCORED, "")]


def test_each_lane_keeps_the_logs_and_one_acts(make):
    flink = make()
    descriptor = build(data_type="t", name="a", version=1, data=b"x", model_type="PMML")
    for key in (KEY, "1/t"):
        flink.key = key
        flink.model(descriptor)
    assert flink.state[KEY, "candidate-logs"] == flink.state["1/t", "candidate-logs"]
    assert "already_served a 1" not in flink.events


def test_the_end_of_the_input_leaves_nothing_behind(make):
    flink = make()
    flink.serve("a")
    flink.stick("a")
    flink.bench.hands.now += 200
    answers = flink.tick(TimeDomain.EVENT_TIME)
    assert outcomes(answers) == [("b1", AnswerOutcome.DECLINED, Reason.ENDED)]
    assert (KEY, "pending") not in flink.state


def test_plans_and_what_cannot_be_read_are_the_routers_business(make):
    flink = make()
    assert flink.model(b"\xff") == []
    assert flink.model(build(data_type="t", operation=DECIDE)) == []
    assert flink.events == []


def test_closing_what_was_never_opened():
    ExecutorOperator(ExecutorSpec("PMML")).close()
