"""The collector in its Flink function, with state and timers in memory: several micro-batches under one key,
restarts, the end of the input."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from pyflink.datastream import TimeDomain

from operators.ensemble.collector import Collector
from operators.ensemble.speculation_rows import answers_row, context_row
from operators.rows import MODEL_STATS
from schemas.micro_batch import encode_micro_batch
from schemas.plans.plan import First, Plan, Prefer, write_plan
from schemas.results.answers import Answer, AnswerOutcome, Asked, DecisionContext, to_columns
from schemas.results.decided import read_decided
from schemas.results.records import CandidateStats, decode
from tests.feature_harness import END, Keyed
from tests.output_batches import messages_of
from tests.serving_fakes import batch_of
from udfs.ensemble.collection.collector_spec import CollectorSpec
from udfs.ensemble.execution.clock import Clock

BORN, DEADLINE_MS = 1_000_000, 100
PLAN = write_plan(Plan(policy=Prefer(candidates=("smart",), otherwise=First())))


class Harness:
    def __init__(self) -> None:
        self.keyed = Keyed(self.collector())
        self.keyed.clock = BORN
        self.places: list[tuple[int, str]] = []
        self.asked: dict[str, int] = {}
        """Candidate -> how often it was asked, by the newest statistics."""

    def collector(self) -> Collector:
        return Collector(CollectorSpec(), Clock(lambda: self.keyed.clock))

    def restart(self) -> None:
        """Only what is in state, and the timers that Flink keeps with it, are left."""
        states = copy.deepcopy(dict(self.keyed.states))
        self.keyed.states.clear()
        self.keyed.states.update(states)
        self.keyed.start(self.collector())

    def expect(self, number: int, key: str = "a", ms: int = DEADLINE_MS) -> None:
        asked = (Asked("fast"), Asked("smart"))
        made = DecisionContext(f"b{number}", "t", BORN, BORN + ms, asked, PLAN, "plan", 1)
        packed = encode_micro_batch(batch_of([b'{"a":1}'], start=number))
        _, value = context_row(key, made, packed)
        self._take(self.keyed.element(key, value, input=1))

    def answer(self, number: int, name: str, key: str = "a") -> None:
        columns = to_columns({"y": np.array([1.0])})
        made = Answer(f"b{number}", "t", name, AnswerOutcome.SCORED, 1, "d" * 64, None, columns)
        _, value = answers_row(key, [made])
        self._take(self.keyed.element(key, value, input=2))

    def pass_time(self, ms: int) -> None:
        self._take(self.keyed.pass_time(self.keyed.clock + ms))

    def end(self) -> None:
        self._take(self.keyed.advance(END))

    def _take(self, sent: list[Any]) -> None:
        for one in sent:
            if isinstance(one, tuple):
                assert one[0] is MODEL_STATS
                for message in messages_of(one[1]):
                    stats = decode(CandidateStats, message.value)
                    self.asked[stats.candidate] = stats.asked
                    assert message.key == stats.key.encode()
                continue
            for message in messages_of(one):
                decided = read_decided(message.value).result
                self.places.append((decided.offset, decided.model))

    @property
    def empty(self) -> bool:
        return not any(of for name in ("batches", "answers") for of in self.keyed.states[name].values())


def _first_timer(keyed: Keyed) -> list[Any]:
    """What leaves at the first timer, whatever the clock says."""
    at, keyed.key = first = min(keyed._timers[False])
    keyed._timers[False].remove(first)
    keyed._domain = TimeDomain.PROCESSING_TIME
    return list(keyed._function.on_timer(at, keyed))


def test_several_micro_batches_are_open_under_one_key():
    harness = Harness()
    for number in (1, 2, 3):
        harness.expect(number)
    harness.answer(2, "smart")
    harness.answer(1, "fast")
    assert harness.places == [(2, "smart")]
    harness.answer(1, "smart")
    assert harness.places == [(2, "smart"), (1, "smart")]
    harness.pass_time(DEADLINE_MS)
    assert harness.places == [(2, "smart"), (1, "smart"), (3, "")]


def test_keys_are_apart():
    harness = Harness()
    harness.expect(1, "a")
    harness.expect(2, "b")
    harness.answer(2, "smart", "b")
    assert harness.places == [(2, "smart")]
    assert list(harness.keyed.states["batches"]["a"]) == ["b1"]
    harness.pass_time(DEADLINE_MS)
    assert harness.places == [(2, "smart"), (1, "")]


def test_a_key_has_one_timer_for_who_is_due_first():
    harness = Harness()
    timers = harness.keyed._timers[False]
    harness.expect(1)
    before = len(timers) - 1  # the other is of statistics
    for number in range(2, 9):
        harness.pass_time(10)
        harness.expect(number, ms=DEADLINE_MS + 10 * (number - 1))
        assert len(timers) == before + 1
    for number in (1, 2, 3):
        harness.answer(number, "smart")
        harness.answer(number, "fast")
    harness.pass_time(DEADLINE_MS + 30 - 70 - 1)
    assert [place for place, _ in harness.places] == [1, 2, 3]
    harness.pass_time(1)
    assert harness.places[3:] == [(4, "")]
    harness.pass_time(1000)
    assert [place for place, _ in harness.places[4:]] == [5, 6, 7, 8]


def test_after_a_restart_each_is_decided_once_and_state_ends_empty():
    harness = Harness()
    harness.expect(1)
    harness.answer(1, "fast")
    harness.answer(2, "smart")  # its decision context comes after the restart
    harness.expect(3)
    harness.restart()
    harness.expect(2)
    assert harness.places == [(2, "smart")]
    harness.pass_time(DEADLINE_MS)
    assert sorted(harness.places) == [(1, "fast"), (2, "smart"), (3, "")]
    harness.restart()
    harness.answer(3, "fast")
    harness.pass_time(600_000)
    assert len(harness.places) == 3 and harness.empty


def test_what_is_overdue_at_a_restart_is_decided_by_the_first_timer():
    harness = Harness()
    harness.expect(1)
    harness.answer(1, "fast")
    harness.restart()
    harness.pass_time(60_000)
    assert harness.places == [(1, "fast")]


def test_the_end_of_the_input_decides_what_is_open_and_tells_all():
    harness = Harness()
    harness.expect(1)
    harness.answer(1, "fast")
    harness.answer(7, "fast")
    harness.expect(2, "b")
    harness.end()
    assert sorted(harness.places) == [(1, "fast"), (2, "")]
    assert harness.empty and harness.asked == {"fast": 2, "smart": 2}


def test_who_comes_later_may_be_due_first():
    harness = Harness()
    harness.expect(1, ms=500)
    harness.expect(2, ms=50)
    harness.pass_time(50)
    assert harness.places == [(2, "")]
    harness.pass_time(450)
    assert harness.places == [(2, ""), (1, "")]


def test_all_that_is_overdue_is_decided_at_one_timer():
    harness = Harness()
    for number in range(50):
        harness.expect(number, ms=DEADLINE_MS + number)
    harness.keyed.clock += 2 * DEADLINE_MS  # the task was held up
    harness._take(_first_timer(harness.keyed))
    assert [place for place, _ in harness.places] == list(range(50))


def test_a_timer_that_fires_before_its_time_by_the_clock_decides():
    harness = Harness()
    harness.expect(1)
    harness.keyed.clock -= 1000  # set back: Flink's timers count on
    harness._take(_first_timer(harness.keyed))
    assert harness.places == [(1, "")]
    assert min(harness.keyed._timers[False])[0] > BORN + DEADLINE_MS, "else Flink calls it again at once"
