"""The collector: whatever comes in whatever order, each record is decided once and state ends empty."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codecs.json_codec import JsonCodec
from schemas.micro_batch import MicroBatch, encode_micro_batch
from schemas.plans.plan import First, Majority, Plan, Prefer, write_plan
from schemas.results.answers import Answer, AnswerOutcome, Asked, DecisionContext, to_columns
from schemas.results.decided import Decided, read_decided
from schemas.results.records import CandidateStats, DeadLetter, Outcome
from udfs.ensemble.collection.collecting import ORPHAN_MS, Collecting
from udfs.ensemble.collection.deciding import Decider
from udfs.ensemble.collection.tally import Tallies
from udfs.ensemble.policies import BatchAnswers, decide
from udfs.serving.output import Output, Results

BORN, DEADLINE_MS, LINGER_MS = 1_000_000, 100, 1_000
DEADLINE = BORN + DEADLINE_MS
NAMES = ("fast", "odd", "smart")
ID = "batch"


@dataclass
class Store:
    """Keyed state and timers of one micro-batch, as Flink keeps them."""

    clock: int = BORN
    state: bytes | None = None
    answers: list[bytes] = field(default_factory=list)
    timers: set[int] = field(default_factory=set)
    touched: int = 0

    def now(self) -> int:
        return self.clock

    def read(self) -> tuple[bytes | None, Sequence[bytes]]:
        self.touched += 2
        return self.state, list(self.answers)

    def write(self, state: bytes) -> None:
        self.touched += 1
        self.state = state

    def add(self, answers: Sequence[bytes]) -> None:
        self.touched += 1
        self.answers += answers

    def drop_answers(self) -> None:
        self.touched += 1
        self.answers.clear()

    def drop(self) -> None:
        self.touched += 1
        self.state = None

    def wake(self, at: int) -> None:
        self.touched += 1
        self.timers.add(at)

    def let_sleep(self, at: int) -> None:
        self.touched += 1
        self.timers.discard(at)

    @property
    def empty(self) -> bool:
        return self.state is None and not self.answers and not self.timers


class Bench:
    """One collector with one micro-batch, and all that it has sent."""

    def __init__(
        self, plan: Plan | None = None, records: int = 2, asked: Iterable[Asked] | None = None
    ) -> None:
        self.plan = plan or Plan(policy=First())
        payloads = [b'{"id":%d}' % n for n in range(records)]
        self.batch = MicroBatch(
            "wine", "topic", payloads, [0] * records, list(range(records)), [BORN] * records
        )
        self.asked = tuple(Asked(name) for name in NAMES) if asked is None else tuple(asked)
        self.store = Store()
        self.sent: list[Output] = []
        self.restart()

    def restart(self) -> None:
        self.tallies = Tallies(0)
        self.collecting = Collecting(Decider(JsonCodec(), True), self.tallies, LINGER_MS)
        self.store.timers.clear()  # those of before fire too, and nobody knows what for
        self.sent += self.collecting.restored(ID, self.store)

    def context(self) -> bytes:
        return msgspec.msgpack.encode(
            DecisionContext(ID, "wine", BORN, DEADLINE, self.asked, write_plan(self.plan), "plan", 3)
        )

    def packed(self) -> bytes:
        return encode_micro_batch(self.batch)

    def expect(self) -> None:
        self.sent += self.collecting.expect(ID, self.context(), self.packed(), self.store)

    def answer(self, answer: Answer) -> None:
        self.answers(answer)

    def answers(self, *answers: Answer) -> None:
        """Together."""
        self.sent += self.collecting.answer(ID, answers, self.store)

    def at(self, time: int) -> None:
        """Let the time come, with all timers on the way."""
        while due := sorted(t for t in self.store.timers if t <= time):
            self.store.timers.discard(due[0])
            self.store.clock = max(self.store.clock, due[0])
            self.sent += self.collecting.woken(ID, self.store)
        self.store.clock = max(self.store.clock, time)

    def end(self) -> None:
        if self.store.state is not None or self.store.answers:
            self.sent += self.collecting.ended(ID, self.store)

    @property
    def results(self) -> list[Decided]:
        runs = [run for run in self.sent if isinstance(run, Results)]
        lines = [line for run in runs for line in run.lines]
        return [read_decided(line) for line in lines]

    @property
    def dead(self) -> list[DeadLetter]:
        return [letter for letter in self.sent if isinstance(letter, DeadLetter)]

    @property
    def places(self) -> list[int]:
        return sorted([r.result.offset for r in self.results] + [letter.offset for letter in self.dead])

    def stats(self) -> dict[str, CandidateStats]:
        return {s.candidate: s for s in self.collecting.stats() if isinstance(s, CandidateStats)}


def scored(name: str, *values: float, rows: Sequence[int] | None = None, **more: object) -> Answer:
    columns = to_columns({"y": np.array(values)})
    where = None if rows is None else tuple(rows)
    return Answer(
        ID, "wine", name, AnswerOutcome.SCORED, 1, "d" * 64, where, columns, waited_ms=5.0, **more  # type: ignore[arg-type]
    )  # fmt: skip


def declined(name: str) -> Answer:
    return Answer(ID, "wine", name, AnswerOutcome.DECLINED, reason="occupied")


def test_the_first_answer_decides_and_the_others_only_count() -> None:
    bench = Bench()
    bench.expect()
    assert not bench.sent
    bench.answer(scored("smart", 1, 2))
    assert [(r.result.model, r.result.scores, r.rule) for r in bench.results] == [
        ("smart", {"y": 1.0}, "first"),
        ("smart", {"y": 2.0}, "first"),
    ]
    assert {r.answers["fast"].outcome for r in bench.results} == {"pending"}
    bench.answer(scored("fast", 3, 4))
    bench.at(DEADLINE)
    bench.answer(scored("odd", 5, 6))
    assert len(bench.results) == 2 and bench.store.empty
    stats = bench.stats()
    assert (stats["smart"].wins, stats["fast"].answered, stats["odd"].late) == (2, 2, 2)


def test_answers_may_come_before_the_decision_context() -> None:
    bench = Bench(Plan(policy=Majority(output="y")))
    for name in NAMES:
        bench.answer(scored(name, 7, 8))
    assert not bench.sent
    bench.expect()
    assert [r.result.scores for r in bench.results] == [{"y": 7}, {"y": 8}] and bench.store.empty


def test_answers_that_come_together_decide_together() -> None:
    bench = Bench(Plan(policy=Prefer(candidates=("smart", "fast"))))
    bench.answers(scored("odd", 5, 6))
    bench.expect()
    bench.answers(scored("fast", 1, 2), scored("smart", 3, 4), scored("smart", 7, 8))
    assert {(r.result.model, r.answers["fast"].outcome) for r in bench.results} == {("smart", "scored")}
    assert [r.result.scores for r in bench.results] == [{"y": 3}, {"y": 4}] and bench.store.empty


def test_answers_that_come_together_after_the_decision_count_once_each() -> None:
    bench = Bench()
    bench.expect()
    bench.answers(scored("smart", 1, 2))
    bench.answers(scored("fast", 1, 2), scored("fast", 1, 2), scored("odd", 1, 2))
    assert len(bench.results) == 2 and bench.store.empty
    assert {name: one.answered for name, one in bench.stats().items()} == dict.fromkeys(NAMES, 2)


def test_answers_that_settle_nothing_are_written_together() -> None:
    bench = Bench(Plan(policy=Majority(output="y", least=3)))
    bench.expect()
    before = bench.store.touched
    bench.answers(scored("fast", 1, 2), scored("odd", 1, 2))
    assert bench.store.touched == before + 1 and len(bench.store.answers) == 2
    bench.restart()
    bench.answers(scored("smart", 1, 2))
    assert bench.places == [0, 1] and bench.store.empty


def test_a_clock_that_was_set_back_wakes_again() -> None:
    bench = Bench()
    bench.expect()
    bench.store.timers.clear()
    bench.sent += bench.collecting.woken(ID, bench.store)
    assert not bench.sent and bench.store.timers == {DEADLINE}


def test_the_deadline_decides_on_an_idle_stream() -> None:
    bench = Bench(Plan(policy=Prefer(candidates=("smart", "fast"))))
    bench.expect()
    bench.answer(scored("fast", 1, 2))
    bench.at(DEADLINE - 1)
    assert not bench.sent
    bench.at(DEADLINE)
    assert {(r.result.model, r.answers["smart"].outcome) for r in bench.results} == {("fast", "late")}
    bench.answer(scored("smart", 3, 4))
    bench.at(DEADLINE + LINGER_MS - 1)
    assert len(bench.results) == 2 and not bench.store.empty
    bench.at(DEADLINE + LINGER_MS)
    assert bench.store.empty
    stats = bench.stats()
    assert (stats["smart"].late, stats["odd"].late, stats["fast"].wins) == (2, 2, 2)


def test_nobody_asked_is_undecided_at_once_and_says_so() -> None:
    bench = Bench(asked=())
    bench.expect()
    assert {(r.result.outcome, r.result.reason) for r in bench.results} == {
        (Outcome.UNDECIDED, "no candidate was asked")
    }
    assert bench.store.empty


def test_records_that_nobody_was_asked_about_say_so_beside_the_decided() -> None:
    bench = Bench(records=3, asked=[Asked("fast", (0, 2))])
    bench.expect()
    bench.answer(scored("fast", 1, 2, rows=(0, 2)))
    assert [(r.result.model, r.result.reason) for r in bench.results] == [
        ("fast", ""), ("", "no candidate was asked"), ("fast", "")
    ]  # fmt: skip


def test_what_all_who_were_asked_cannot_read_is_a_dead_letter() -> None:
    bench = Bench(records=3)
    bench.expect()
    for name in NAMES:
        unfit = {1: "missing_field"} | ({2: "null"} if name == "odd" else {})
        why = dict.fromkeys(unfit, f"{name} cannot")
        rows = [row for row in range(3) if row not in unfit]
        bench.answer(scored(name, *map(float, rows), rows=rows, bad=why, unfit=unfit))
    (letter,) = bench.dead
    assert (letter.offset, letter.code) == (1, "missing_field")
    assert letter.reason == "fast: fast cannot; odd: odd cannot; smart: smart cannot"
    assert bench.places == [0, 1, 2] and bench.store.empty


def test_a_record_that_a_model_fails_at_is_no_dead_letter() -> None:
    bench = Bench(asked=[Asked("fast")])
    bench.expect()
    bench.answer(scored("fast", 1.0, rows=[0], bad={1: "it broke"}))
    assert not bench.dead
    assert [r.result.outcome for r in bench.results] == [Outcome.SCORED, Outcome.UNDECIDED]
    assert bench.results[1].answers["fast"].reason == "it broke"


def test_what_is_no_json_cannot_be_a_result() -> None:
    bench = Bench()
    bench.batch = MicroBatch("wine", "topic", [b"{}", b"not"], [0, 0], [0, 1], [BORN, BORN])
    bench.expect()
    for name in NAMES:
        bench.answer(declined(name))
    (letter,) = bench.dead
    assert (letter.offset, letter.code) == (1, "unparsable")
    assert [r.result.offset for r in bench.results] == [0]


def test_an_answer_whose_micro_batch_never_comes_is_forgotten() -> None:
    bench = Bench()
    bench.answer(scored("fast", 1, 2))
    bench.at(BORN + ORPHAN_MS)
    assert bench.store.empty and not bench.sent


def test_the_end_of_the_input_decides_what_is_open() -> None:
    bench = Bench(Plan(policy=Majority(output="y", otherwise=First())))
    bench.expect()
    bench.answer(scored("fast", 1, 2))
    bench.end()
    assert [r.rule for r in bench.results] == ["first", "first"] and bench.store.empty


def test_the_end_of_the_input_forgets_answers_that_nothing_is_expected_of() -> None:
    bench = Bench()
    bench.answer(scored("fast", 1, 2))
    bench.end()
    assert not bench.sent and bench.store.empty and not bench.collecting._open


def test_a_restart_decides_what_is_overdue_and_wakes_the_rest() -> None:
    bench = Bench(Plan(policy=Prefer(candidates=("smart", "fast"))))
    bench.expect()
    bench.answer(scored("fast", 1, 2))
    bench.restart()
    assert not bench.sent and bench.store.timers == {DEADLINE}
    bench.store.clock = DEADLINE + 5
    bench.restart()
    assert {(r.result.model, r.rule) for r in bench.results} == {("fast", "prefer")}
    bench.restart()
    assert len(bench.results) == 2 and bench.store.timers == {DEADLINE + LINGER_MS}
    bench.store.clock = DEADLINE + LINGER_MS
    bench.restart()
    assert bench.store.empty and not bench.collecting._open


def test_a_restart_lets_an_answer_wait_for_its_decision_context_once_more() -> None:
    bench = Bench()
    bench.answer(scored("fast", 1, 2))
    bench.store.clock += ORPHAN_MS - 1
    bench.restart()
    assert bench.store.timers == {BORN + 2 * ORPHAN_MS - 1} and not bench.store.empty
    bench.expect()
    assert {r.result.model for r in bench.results} == {"fast"}


def test_the_usual_micro_batch_touches_state_seldom() -> None:
    bench = Bench(Plan(policy=Majority(output="y")))
    bench.expect()
    for name in NAMES:
        bench.answer(scored(name, 1, 2))
    assert bench.places == [0, 1] and bench.store.empty
    # read twice, write, wake; two answers kept; then three to forget it all; and read twice at the start
    assert bench.store.touched <= 11


POLICIES = st.sampled_from(
    [
        First(),
        Prefer(candidates=("smart", "fast")),
        Majority(output="y"),
        Majority(output="y", least=2, otherwise=Prefer(candidates=("odd",))),
    ]
)
STEPS = st.lists(
    st.one_of(
        st.sampled_from(["expect", "restart", "save", "restore", *NAMES]),
        st.integers(1, DEADLINE_MS),
    ),
    max_size=12,
)


@given(policy=POLICIES, steps=STEPS, bad=st.dictionaries(st.sampled_from(NAMES), st.just(0)))
@settings(max_examples=300)
def test_every_record_comes_out_once_and_state_ends_empty(
    policy: First | Prefer | Majority, steps: list[str | int], bad: dict[str, int]
) -> None:
    bench = Bench(Plan(policy=policy))
    saved: tuple[Store, int, set[str]] | None = None
    given_: set[str] = set()

    def go(step: str) -> None:
        if step in given_:
            return
        given_.add(step)
        if step == "expect":
            bench.expect()
        elif step in bad:
            bench.answer(scored(step, 4.0, rows=[1], bad={0: "not this one"}))
        else:
            bench.answer(scored(step, 1.0, len(step) * 1.0))

    for step in steps:
        if isinstance(step, int):
            bench.at(bench.store.clock + step)
        elif step == "restart":
            bench.restart()
        elif step == "save":
            saved = copy.deepcopy(bench.store), len(bench.sent), set(given_)
        elif step == "restore" and saved is not None:
            clock = bench.store.clock
            bench.store, bench.sent, given_ = copy.deepcopy(saved[0]), bench.sent[: saved[1]], set(saved[2])
            bench.store.clock = clock
            bench.restart()
        elif step != "restore":
            go(step)
    for step in ("expect", *NAMES):
        go(step)
    bench.at(bench.store.clock + DEADLINE_MS + LINGER_MS + ORPHAN_MS)
    assert bench.places == [0, 1]
    assert bench.store.empty and not bench.collecting._open
    for result in bench.results:
        again = BatchAnswers([Asked(name) for name in NAMES], 1)
        for name, answer in result.answers.items():
            if answer.outcome == "scored":
                again.add(scored(name, answer.scores["y"]))
        (part,) = decide(policy, again).parts
        assert (part.by, part.rule) == (result.result.model, result.rule)
        assert {n: c[0] for n, c in part.columns.items()} == result.result.scores


@given(order=st.permutations(["expect", *NAMES]), waits=st.lists(st.integers(0, 60), min_size=4, max_size=4))
def test_every_request_is_counted_once(order: list[str], waits: list[int]) -> None:
    bench = Bench()
    for step, wait in zip(order, waits, strict=True):
        bench.at(bench.store.clock + wait)
        bench.expect() if step == "expect" else bench.answer(scored(step, 1, 1))
    bench.at(bench.store.clock + DEADLINE_MS + LINGER_MS + ORPHAN_MS)
    stats = bench.stats()
    assert {name: s.asked for name, s in stats.items()} == dict.fromkeys(NAMES, 2)
    for s in stats.values():
        assert s.answered + s.late + s.declined + s.failed == s.asked
    assert sum(s.wins for s in stats.values()) == sum(bool(r.result.model) for r in bench.results)
    assert bench.places == [0, 1]
