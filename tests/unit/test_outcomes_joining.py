"""Results meet outcomes: in any order, with repeats and corrections, each gets one fate, and sums hold."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import SettingsError, StateError
from schemas.results.records import NAME_LIMIT
from tests.outcome_cases import JUDGING, MemoryStore, batch, outcome, result
from udfs.features.events.reached_by_all import NOTHING
from udfs.lifecycle.outcomes.fates import Fates
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.joining import Joined, Joining, Settled, Terms
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.outcomes.messages import unpack
from udfs.lifecycle.outcomes.progress import END, UNKNOWN, ReadTo, reached
from udfs.lifecycle.outcomes.reading import Reader

TERMS = Terms(window=10_000, grace=1_000, keep=20_000)
BY_FIELD = Judging(score="p", label="bought", time="at", key="order")


class Run:
    """A join, fed with messages as they would come from topics."""

    def __init__(self, judging: Judging = JUDGING, terms: Terms = TERMS) -> None:
        self.reader = Reader({"wine": judging}, 1, 1)
        self.store, self.fates, self.terms = MemoryStore(), Fates(), terms
        self.settled: list[Settled] = []
        self.dead: Counter[str] = Counter()
        self.offset = self.now = 0

    def results(self, *messages: Any, time: int = 0) -> Run:
        read = self.reader.results(batch(messages, time))
        joining = Joining(self.terms, self.store, self.fates, self.now)
        for delivery in read.deliveries.values():
            joining.results(delivery)
        self.dead["unreadable"] += len(read.dead)
        return self._take(joining.done())

    def outcomes(self, *messages: Any, time: int = 0) -> Run:
        read = self.reader.outcomes(batch(messages, time, "labels", self.offset))
        self.offset += len(messages)
        joining = Joining(self.terms, self.store, self.fates, self.now)
        for delivery in read.deliveries.values():
            joining.outcomes(delivery)
        self.dead["unreadable"] += len(read.dead)
        return self._take(joining.done())

    def close(self, outcomes_to: int, results_to: int) -> Run:
        joining = Joining(self.terms, self.store, self.fates, self.now)
        assert not joining.close(outcomes_to, results_to)
        return self._take(joining.done())

    def _take(self, joined: Joined) -> Run:
        self.settled += joined.settled
        self.dead.update(fate.value for _, fate in joined.dead)
        self.dead["crowded"] += len(joined.crowded)
        return self

    def said(self) -> list[tuple[int, str | None, float | None, int]]:
        return [
            (s.predicted.offset, s.fate and s.fate.value, s.came and s.came.value, s.revision)
            for s in self.settled
        ]


def test_an_outcome_meets_its_prediction_whichever_comes_first() -> None:
    for run in (
        Run().results(result(1, 100)).outcomes(outcome(1, 200)),
        Run().outcomes(outcome(1, 200)).results(result(1, 100)),
    ):
        assert run.said() == [(1, "joined", 1.0, 1)]
        assert run.fates.waiting == (0, 0) and run.dead.total() == 0


def test_corrections_count_and_both_are_kept() -> None:
    run = Run().results(result(1, 100)).outcomes(outcome(1, 200), outcome(1, 300, False), outcome(1, 250))
    run.outcomes(outcome(1, 300, False))
    assert run.said() == [(1, "joined", 1.0, 1), (1, "correction", 0.0, 2), (1, "outdated", 1.0, 0)]
    assert run.settled[1].replaced == 1.0
    assert run.fates.outcomes == {"joined": 1, "correction": 1, "outdated": 1, "duplicate": 1}
    assert run.fates.predictions == {"joined": 1}


def test_an_outcome_of_the_same_label_and_another_number_is_a_correction() -> None:
    """Beside an experiment or not: what is stored of it, and what experiments are told, is the latest."""
    for stamp in ({}, {"experiments": {"e": {"arm": "a", "step": 0}}}):
        run = Run().results(result(1, 100, stamp=stamp)).outcomes(outcome(1, 200, revenue=5.0))
        run.outcomes(outcome(1, 300, revenue=7.5), outcome(1, 300, revenue=7.5), outcome(1, 400, revenue=7.5))
        assert run.said() == [(1, "joined", 1.0, 1), (1, "correction", 1.0, 2)]
        assert [s.came.metrics for s in run.settled if s.came] == [{"revenue": 5.0}, {"revenue": 7.5}]
        assert run.fates.outcomes == {"joined": 1, "correction": 1, "duplicate": 2}
        run.outcomes(outcome(1, 500))  # without the number: it is taken back
        assert run.said()[-1] == (1, "correction", 1.0, 3)


def test_an_entity_is_the_same_one_whoever_wrote_it() -> None:
    """As experiments draw it into arms; nothing that is nested deeper than it can be written is one."""
    texts = ((7, "7"), (7.0, "7"), ("7", "7"), (True, "true"), ([1, 2], "[1,2]"), (None, ""))
    for value, said in texts:
        run = Run().results(result(1, 100, customer=value)).close(END, END)
        assert run.settled[0].predicted.entity == said
    deep = orjson.dumps(result(1, 100, customer="?")).replace(b'"?"', b"[" * 300 + b"]" * 300)
    assert Run().results(deep).close(END, END).settled[0].predicted.entity == ""


@pytest.mark.parametrize(
    "at",
    [
        1_700_000_000_250,
        1_700_000_000_250.0,
        "2023-11-14T22:13:20.250Z",
        "2023-11-15T00:13:20.250+02:00",
        "2023-11-14 22:13:20.25",
    ],
)
def test_a_time_may_be_written_as_others_write_it(at: Any) -> None:
    run = Run().results(result(1, 1_700_000_000_000)).outcomes(outcome(1, at))
    assert [s.came and s.came.time for s in run.settled] == [1_700_000_000_250]


@pytest.mark.parametrize("at", ["soon", "1969-12-31T23:59:59Z", -1, True, None, 2**60, {}])
def test_what_is_no_time_is_a_dead_letter(at: Any) -> None:
    read = Reader({"wine": JUDGING}, 1, 1).outcomes(batch([outcome(1, at)]))
    (dead,) = read.dead
    assert (
        dead.reason == "no outcome: at is no time: give epoch milliseconds, or ISO 8601"
        and not dead.event_time
    )


def test_a_key_that_is_a_whole_number_meets_its_text() -> None:
    run = Run(BY_FIELD).results(result(1, 100, order=7.0)).outcomes({"order": 7, "bought": 1, "at": 200})
    assert run.said() == [(1, "joined", 1.0, 1)]
    assert run.results(result(2, 100, order=7.5), result(3, 100, order=1e300)).dead["unreadable"] == 2


@pytest.mark.parametrize(
    ("positive", "fits", "others"),
    [("1", ["1", "0", ""], [1, True, 0.0]), (1, [1, True, 0, 2.5], ["1", "yes"]), (True, [False], ["true"])],
)
def test_a_label_of_another_type_than_the_positive_class_is_refused(
    positive: Any, fits: list[Any], others: list[Any]
) -> None:
    judging = Judging(score="p", label="bought", positive=positive)
    assert [judging.outcome_of(value) for value in fits] == [float(value == positive) for value in fits]
    for value in others:
        with pytest.raises(ValueError, match="give both the same type"):
            judging.outcome_of(value)


def test_a_prediction_without_an_outcome_is_given_up_after_its_window_and_not_before() -> None:
    run = Run().results(result(1, 100)).close(100 + TERMS.window, 0)
    assert run.said() == []
    run.close(100 + TERMS.window + TERMS.grace + TERMS.step, 0)
    assert run.said() == [(1, None, None, 1)] and run.store.entries == {}
    assert run.fates.predictions == {"no_outcome": 1}


def test_an_old_prediction_waits_for_outcomes_that_are_read_at_the_same_time() -> None:
    run = Run()
    run.now = 1_000_000
    run.results(result(1, 100)).close(run.now, 0)
    assert run.outcomes(outcome(1, 200)).said() == [(1, "joined", 1.0, 1)]


def test_what_comes_too_early_too_late_or_for_nobody_is_a_dead_letter() -> None:
    run = Run().results(result(1, 1_000), result(2, 1_000))
    run.outcomes(outcome(1, 999), outcome(2, 1_000 + TERMS.window + 1), outcome(3, 1_000))
    run.close(0, TERMS.keep)
    assert run.dead.total() == 0
    run.close(0, 2 * TERMS.keep)
    assert run.dead == {"outside": 2, "no_prediction": 1, "unreadable": 0, "crowded": 0}
    run.close(END, END)
    assert run.fates.waiting == (0, 0) and run.store.entries == {} and run.store.reminders == []


def test_repeats_of_a_result_change_nothing() -> None:
    run = Run().results(result(1, 100), result(1, 100)).outcomes(outcome(1, 200)).results(result(1, 100))
    assert run.said() == [(1, "joined", 1.0, 1)]
    assert run.fates.predictions == {"joined": 1, "repeated": 2} and run.fates.predictions_in == 3


def test_by_a_field_an_outcome_meets_all_predictions_of_its_window() -> None:
    run = Run(BY_FIELD).results(result(1, 100, order="a"), result(2, 20_000, order="a"))
    run.outcomes({"order": "a", "bought": 1, "at": 5_000}).results(result(3, 4_000, order="a"))
    run.results(result(4, 4_000, order=7)).outcomes({"order": "7", "bought": 0, "at": 5_000})
    assert [s[:3] for s in run.said()] == [(1, "joined", 1.0), (3, "joined", 1.0), (4, "joined", 0.0)]
    assert run.fates.outcomes == {"joined": 2}


def test_one_key_has_bounds() -> None:
    run = Run(BY_FIELD, Terms(window=10, most_of_a_key=3))
    run.results(*(result(n, 100, order="a") for n in range(5)))
    run.outcomes(*({"order": "b", "bought": 1, "at": 100} for _ in range(4)))
    assert run.fates.predictions == {"crowded": 2} and run.fates.outcomes == {"crowded": 1}
    assert run.dead["crowded"] == 3 and run.fates.waiting == (3, 3)


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b"",
        b'{"millrace": 1}',
        {"millrace": {"data_type": "wine"}},
        result(1, 1) | {"millrace": {**result(1, 1)["millrace"], "event_time": None, "offset": "1"}},
        result(1, 1, stamp={"offset": 2**63}),
        result(1, 1, stamp={"event_time": 1e300}),
    ],
)
def test_what_is_no_result_is_a_dead_letter(bad: Any) -> None:
    run = Run().results(bad, result(1, 100))
    assert run.fates.predictions == {"unreadable": 1} and run.dead == {"unreadable": 1, "crowded": 0}
    assert run.fates.waiting == (1, 0)


@pytest.mark.parametrize(
    ("name", "odd", "counts_as"),
    [
        ("model", 5, ""),
        ("digest", None, ""),
        ("rule", "a" * (NAME_LIMIT + 1), "a" * NAME_LIMIT),
        ("version", 2**63, 0),
        ("version", True, 0),
        ("plan_version", 1.0, 0),
        ("ms", True, 1.0),
        ("ms", 2**64 - 1, 2.0**64),
        ("ms", "5", 0.0),
        ("scores", [1], "[1]"),
        ("answers", [1], ""),
    ],
)
def test_a_field_of_a_stamp_that_is_of_another_type_counts_as_none(
    name: str, odd: Any, counts_as: Any
) -> None:
    read = Reader({"wine": JUDGING}, 1, 1).results(batch([result(1, 100, stamp={name: odd})]))
    ((key, event_time, packed),) = read.deliveries[0].predictions[0]
    assert (key, event_time) == ("#wine/0/1", 100)
    plain = {"model": "forest", "version": 1, "digest": "ab12", "ms": 0.5, "rule": "", "answers": ""}
    predicted = unpack(packed)
    assert {n: getattr(predicted, n) for n in plain | {name: None}} == plain | {name: counts_as}


def test_what_is_no_prediction_is_not_unpacked() -> None:
    with pytest.raises(StateError, match="no prediction"):
        unpack(msgspec.Raw(b"\x91\xa4wine"))


@pytest.mark.parametrize("judging", [JUDGING, BY_FIELD])
def test_a_result_that_comes_again_after_its_window_is_known_for_as_long_as_is_asked(
    judging: Judging,
) -> None:
    """It counted anew, as where a job writes again what it wrote before an outage."""
    run = Run(judging, Terms(window=10_000, grace=1_000, keep=20_000, repeat=30_000))
    run.results(result(1, 100, order="a"))
    run.now = 20_000
    run.close(20_000, 20_000).results(result(1, 100, order="a"), result(2, 100, order="a"))
    assert run.fates.predictions == {"no_outcome": 1, "repeated": 1} and run.fates.waiting == (1, 0)
    run.now = 40_000
    run.close(40_000, 40_000).results(result(1, 100, order="a"), result(2, 100, order="a"))
    assert run.fates.predictions == {"no_outcome": 2, "repeated": 3} and run.fates.waiting == (0, 0)
    run.now = 80_000
    run.close(80_000, 80_000)
    assert not run.store.entries and not run.store.reminders
    run.results(result(1, 100, order="a")).close(END, END)
    assert run.fates.predictions["no_outcome"] == 3 and not run.store.entries and not run.store.reminders


def test_of_a_key_as_many_are_known_as_may_wait_under_it() -> None:
    run = Run(BY_FIELD, Terms(window=10_000, grace=1_000, keep=20_000, most_of_a_key=2, repeat=90_000))
    for n in range(5):
        run.now = 20_000 * n
        run.results(result(n, run.now, order="a")).close(run.now + 12_000, run.now + 12_000)
    run.results(*(result(n, 0, order="a") for n in range(5)))
    assert run.fates.predictions["repeated"] == 2


def test_what_was_given_up_is_no_repeat() -> None:
    read = Reader({"wine": BY_FIELD}, 1, 1).results(batch([result(n, 100, order="a") for n in (1, 2)]))
    joining = Joining(TERMS, MemoryStore(), fates := Fates(), 0)
    joining.results(read.deliveries[0])
    joining.done()
    joining.results(read.deliveries[0])
    assert fates.predictions == {"repeated": 2}
    joining.close(END, END)
    joining.results(read.deliveries[0])
    assert fates.predictions == {"repeated": 2, "no_outcome": 2}


def test_results_of_other_types_are_passed_over() -> None:
    other = [result(1, 1, stamp={"data_type": name}) for name in ("tea", None, ["wine"])]
    assert Run().results(*other).fates.predictions == {"other_type": 3}


@pytest.mark.parametrize(
    "bad",
    [
        b"nonsense",
        outcome(1, 1, None),
        outcome(1, 1, "yes"),
        outcome(1, 1, [1]),
        outcome(1, "soon"),
        {"bought": 1, "at": 1},
        outcome(1, 1, data_type="tea"),
        outcome(1, 1, data_type=[]),
    ],
)
def test_what_is_no_outcome_is_a_dead_letter(bad: Any) -> None:
    assert Run().outcomes(bad).fates.outcomes == {"unreadable": 1}


def test_a_record_s_own_field_features_may_be_deeper_than_can_be_written() -> None:
    deep = json.loads("[" * 300 + "]" * 300)
    run = Run().results(json.dumps(result(1, 5, features=deep)).encode(), result(2, 5, features=[{"a": 1}]))
    assert not run.dead["unreadable"] and run.fates.predictions_in == 2
    assert run.outcomes(outcome(1, 6), outcome(2, 6)).fates.outcomes["joined"] == 2


def test_scores_that_cannot_be_judged_are_none() -> None:
    numbers = Judging(score="y[1]", kind="numbers")
    assert numbers.score_of({"y": [1, 2.5]}) == 2.5 and numbers.score_of({"y": [1]}) is None
    assert numbers.score_of({"y": float("inf")}) is None and JUDGING.score_of({"p": 1.5}) is None
    assert JUDGING.score_of({"p": [0.25]}) == 0.25 and JUDGING.score_of({"p": "0.25"}) is None
    assert Judging(score="p", positive="good").outcome_of("good") == 1.0
    with pytest.raises(ValueError, match="no number"):
        numbers.outcome_of("1")
    for large in (1e101, -1e308, float("inf"), float("nan")):  # of two such the sums are no numbers
        assert numbers.score_of({"y": [0, large]}) is None
        with pytest.raises(ValueError, match="no number, or one beyond"):
            numbers.outcome_of(large)
    assert numbers.score_of({"y": [0, -1e100]}) == -1e100 and numbers.outcome_of(1e100) == 1e100
    for wrong in ({"slices": ("a",)}, {"fields": {"a": "text"}}, {"without": 0.5}):
        with pytest.raises(SettingsError):
            Judging(score="p", **wrong)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("result"), st.integers(0, 5), st.integers(0, 30)),
        st.tuples(st.just("outcome"), st.integers(0, 7), st.integers(0, 60), st.booleans()),
        st.tuples(st.just("bad"), st.booleans()),
        st.tuples(st.just("close"), st.integers(0, 90), st.integers(0, 90)),
        st.tuples(st.just("restore")),
    ),
    max_size=40,
)


@given(STEPS, st.booleans())
@settings(max_examples=300)
def test_sums_hold_for_any_mixture(steps: list[tuple[Any, ...]], by_field: bool) -> None:
    run = Run(BY_FIELD if by_field else JUDGING)
    results = outcomes = 0
    for kind, *of in steps:
        match kind:
            case "result":
                run.results(result(of[0], of[1] * 1_000, order=f"o{of[0] % 3}"), time=of[1] * 1_000)
                results += 1
            case "outcome":
                run.outcomes(outcome(of[0], of[1] * 1_000, of[2], order=f"o{of[0] % 3}"), time=of[1] * 1_000)
                outcomes += 1
            case "bad":
                run = run.results(b"x") if of[0] else run.outcomes(b"x")
                results, outcomes = results + of[0], outcomes + (not of[0])
            case "close":
                run.close(of[0] * 1_000, of[1] * 1_000)
            case "restore":  # all that counts is in the store and in the fates
                run.fates = Fates(**{n: getattr(run.fates, n) for n in run.fates.__struct_fields__})
        assert run.fates.predictions_in == results and run.fates.outcomes_in == outcomes
        assert min(run.fates.waiting) >= 0
    run.close(END, END)
    fates = run.fates
    assert fates.waiting == (0, 0) and run.store.entries == {} and run.store.reminders == []
    assert sum(fates.predictions.values()) == results and sum(fates.outcomes.values()) == outcomes
    # each prediction that was taken in leaves once at first, and later outcomes of it after that
    first = Counter(s.predicted.identity for s in run.settled if s.fate is None or s.fate.value == "joined")
    assert sum(first.values()) == fates.predictions.get("joined", 0) + fates.predictions.get("no_outcome", 0)
    assert run.dead.total() == sum(
        of.get(name, 0)
        for of in (fates.predictions, fates.outcomes)
        for name in ("unreadable", "crowded", "outside", "no_prediction")
    )


@given(st.permutations([0, 1, 2, 3, 4]), st.lists(st.booleans(), min_size=4, max_size=4))
@settings(max_examples=60)
def test_the_outcome_that_counts_does_not_depend_on_the_order(order: list[int], said: list[bool]) -> None:
    run = Run()
    for n in order:
        if n == 4:
            run.results(result(1, 100))
        else:
            run.outcomes(outcome(1, 200 + n, said[n]))
    counted = [s for s in run.settled if s.revision]
    last = max(counted, key=lambda s: s.revision)
    assert last.came is not None and last.came.value == float(said[3])


def test_nothing_is_given_up_while_a_topic_is_read_up() -> None:
    read_to = ReadTo(catch_up_ms=40_000)
    assert read_to.at(500) == UNKNOWN
    read_to.told("0/2", 300)
    assert read_to.at(700) == UNKNOWN, "the other reader has said nothing yet"
    read_to.told("1/2", 100)
    assert read_to.at(700) == 100
    read_to.told("1/2", END)
    assert read_to.at(1_000) == 300, "the other one is silent"
    read_to.told("0/2", END)
    assert read_to.at(2_600) == 2_600, "all are"
    read_to.told("0/2", 950)
    assert read_to.at(50_100) == 10_100, "it has had its time to catch up"
    read_to.told("0/2", 30_000)
    assert read_to.at(50_300) == 30_000
    read_to.told("1/2", 60_000)
    read_to.told("0/2", 60_000)
    assert read_to.at(50_300) == 50_300, "what comes out of the future brings no time forward"


def test_a_reader_tells_the_least_of_its_partitions_until_they_are_silent() -> None:
    progress = JoinSpec({"wine": JUDGING}, TERMS, idle_ms=1_000).progress()
    assert reached(progress) == NOTHING
    progress.heard(0, 500)
    progress.heard(1, 900)
    assert reached(progress) == NOTHING, "others of its partitions may not have been read yet"
    progress.passed(999)
    progress.heard(0, 600)
    assert reached(progress) == NOTHING
    progress.passed(1)
    assert reached(progress) == 599, "partition 1 is silent"
    progress.heard(1, 700)
    assert reached(progress) == 599
    progress.passed(1_000)
    assert reached(progress) == END
