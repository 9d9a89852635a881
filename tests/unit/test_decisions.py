"""Every policy against a table of cases, with the answers arriving in every order."""

from __future__ import annotations

from itertools import permutations
from typing import get_args

import numpy as np
import pytest

from schemas.plans.plan import (
    Agreement,
    BestConfidence,
    BestQuality,
    Fallback,
    First,
    Majority,
    MeanAnswer,
    MedianAnswer,
    Policy,
    Prefer,
)
from schemas.results.answers import Answer, AnswerOutcome, Asked, to_columns
from tests.decision_cases import answer, batch, decided, silent, told
from udfs.ensemble.policies import decide
from udfs.ensemble.policies.votes import judge

A, B, C = answer("a", q=[1.0]), answer("b", q=[2.0]), answer("c", q=[4.0])
SURE = [answer("a", y=["x"], p=[0.6]), answer("b", y=["y"], p=[0.9]), answer("c", y=["z"], p=[0.9])]
TWO_TWO = [
    answer(n, y=[v], p=[p]) for n, v, p in [("a", 1, 0.3), ("b", 2, 0.9), ("c", 1, 0.4), ("d", 2, 0.1)]
]
METRICS = {"a": {"f1": 0.9, "loss": 0.9}, "b": {"f1": 0.5, "loss": 0.1}, "d": {"f1": 1.0}}
SPREAD = [answer(n, q=[v]) for n, v in [("a", 1.0), ("b", 1.5), ("c", 3.0), ("d", 3.25), ("e", 9.0)]]


def test_every_policy_has_a_function_of_its_own():
    of_none = judge.dispatch(object)
    assert [kind for kind in get_args(Policy) if judge.dispatch(kind) is of_none] == []


def combined(rule: str, **values):
    return ("", rule, values)


LAST = Fallback(value={"q": -1.0})

CASES = [
    # prefer
    (Prefer(candidates=("b", "a")), [A, B, C], ("b", "prefer", {"q": 2.0})),
    (Prefer(candidates=("b", "a")), [A, silent("b"), C], ("a", "prefer", {"q": 1.0})),
    (Prefer(candidates=("b", "d")), [A, C], "prefer: none of b, d answered in time"),
    # majority
    (
        Majority(output="y"), [answer("a", y=[5]), answer("b", y=[6]), answer("c", y=[5])],
        combined("majority", y=5),
    ),
    (
        Majority(output="y"), [answer("a", y=["u"]), answer("b", y=["v"]), answer("c", y=["v"])],
        combined("majority", y="v"),
    ),
    (
        Majority(output="y"), [answer("a", y=[1]), answer("b", y=[1])],
        "majority: fewer than 3 answers with 'y' in time",
    ),
    (Majority(output="y", tie="lowest"), TWO_TWO, combined("majority", y=1)),
    (Majority(output="y", tie="highest"), TWO_TWO, combined("majority", y=2)),
    (Majority(output="y", tie="confidence", confidence="p"), TWO_TWO, combined("majority", y=2)),
    (Majority(output="y", tie="undecided"), TWO_TWO, "majority: several values of 'y' are equally frequent"),
    (Majority(output="y", within=0.6), TWO_TWO, "majority: no value of 'y' has the share 0.6 of the answers"),
    (Majority(output="y", within=0.5, tie="lowest"), TWO_TWO, combined("majority", y=1)),
    (Majority(output="y", tie="lowest"), SURE, combined("majority", y="x")),
    (Majority(output="y", tie="highest"), SURE, combined("majority", y="z")),
    (  # equal in confidence too: then the lowest
        Majority(output="y", tie="confidence", confidence="p"), SURE, combined("majority", y="y")
    ),
    (  # a text is no number, and comes after them
        Majority(output="y", tie="lowest", least=2), [answer("a", y=["0"]), answer("b", y=[7])],
        combined("majority", y=7),
    ),
    (
        Majority(output="y", tie="highest", least=2), [answer("a", y=["0"]), answer("b", y=[7])],
        combined("majority", y="0"),
    ),
    (  # equal by value, whatever the type
        Majority(output="y"), [answer("a", y=[1]), answer("b", y=[1.0]), answer("c", y=np.array([2], "f4"))],
        combined("majority", y=1),
    ),
    (  # vectors vote for their largest element
        Majority(output="p"),
        [answer("a", p=[[0.1, 0.9]]), answer("b", p=[[0.4, 0.6]]), answer("c", p=[[0.9, 0.1]])],
        combined("majority", p=1),
    ),
    (  # also beside labels, and a vector of one is its element
        Majority(output="p"), [answer("a", p=[[0.1, 0.9]]), answer("b", p=[1]), answer("c", p=[[4.0]])],
        combined("majority", p=1),
    ),
    (  # an answer without the output has no vote
        Majority(output="y"), [answer("a", y=[1]), answer("b", y=[1]), answer("c", z=[1])],
        "majority: fewer than 3 answers with 'y' in time",
    ),
    # mean and median
    (MeanAnswer(output="q"), [A, B, C], combined("mean", q=7 / 3)),
    (MeanAnswer(output="q"), [A, C, silent("b")], combined("mean", q=2.5)),
    (MeanAnswer(output="q", weights={"a": 1.0, "b": 3.0}), [A, B, C], combined("mean", q=1.75)),
    (MeanAnswer(output="q", weights={"a": 1.0, "b": 3.0}), [B, C], combined("mean", q=2.0)),
    (MeanAnswer(output="q", weights={"a": 1.0}), [B, C], "mean: fewer than 1 answers with 'q' in time"),
    (MeanAnswer(output="q", least=3), [A, B], "mean: fewer than 3 answers with 'q' in time"),
    (
        MeanAnswer(output="q"),
        [answer("a", q=[1e308]), answer("b", q=[1.5e308])],
        combined("mean", q=1.25e308),
    ),
    (MeanAnswer(output="q"), [A, answer("b", q=["x"])], combined("mean", q=1.0)),
    (
        MeanAnswer(output="p"), [answer("a", p=[[0.0, 1.0]]), answer("b", p=[[1.0, 0.5]])],
        combined("mean", p=[0.5, 0.75]),
    ),
    (
        MeanAnswer(output="p"), [answer("a", p=[[0.0, 1.0]]), answer("b", p=[1.0])],
        "mean: answers differ in the shape of 'p'",
    ),
    (MedianAnswer(output="q"), [A, B, C], combined("median", q=2.0)),
    (MedianAnswer(output="q"), [A, B, C, answer("d", q=[8])], combined("median", q=3.0)),
    (MedianAnswer(output="q"), [A, silent("b")], combined("median", q=1.0)),
    (MedianAnswer(output="q", least=2), [A, silent("b")], "median: fewer than 2 answers with 'q' in time"),
    (
        MedianAnswer(output="p"), [answer("a", p=[[1, 9]]), answer("b", p=[[2, 8]]), answer("c", p=[[3, 3]])],
        combined("median", p=[2.0, 8.0]),
    ),
    # best
    (BestConfidence(confidence="p"), SURE, ("b", "best_confidence", {"y": "y", "p": 0.9})),
    (
        BestConfidence(confidence="p"), [answer("a", p=[[0.5, 0.5]]), answer("b", p=[[0.8, 0.2]])],
        ("b", "best_confidence", {"p": [0.8, 0.2]}),
    ),
    (BestConfidence(confidence="p"), [A, B], "best_confidence: no answer in time has the output 'p'"),
    (BestQuality(metric="f1"), [A, B, C], ("a", "best_quality", {"q": 1.0})),
    (BestQuality(metric="loss", better="lower"), [A, B, C], ("b", "best_quality", {"q": 2.0})),
    (BestQuality(metric="f1"), [silent("a"), B, C], ("b", "best_quality", {"q": 2.0})),
    (BestQuality(metric="f1"), [C], "best_quality: no candidate with the metric 'f1' answered in time"),
    # agreement
    (Agreement(output="q", tolerance=1.0), SPREAD[:3], combined("agreement", q=1.25)),
    (Agreement(output="q", tolerance=0.3), SPREAD, combined("agreement", q=3.125)),
    (Agreement(output="q", tolerance=2.0, least=3), SPREAD, combined("agreement", q=7.75 / 3)),
    (Agreement(output="q", tolerance=0.1), SPREAD, combined("agreement: lowest", q=1.0)),
    (
        Agreement(output="q", tolerance=0.1, conservative="highest"), SPREAD,
        combined("agreement: highest", q=9.0),
    ),
    (
        Agreement(output="q", tolerance=0.1, conservative="undecided"), SPREAD,
        "agreement: the answers with 'q' do not agree within 0.1",
    ),
    (Agreement(output="q", tolerance=9.0), [A, silent("b")], combined("agreement: lowest", q=1.0)),
    (Agreement(output="p", tolerance=9.0), [A, B], "agreement: no answer in time has the output 'p'"),
    # fallback, and what leads to it
    (
        Fallback(value={"q": 0, "p": [0.5, 0.5], "y": "none"}), [],
        combined("fallback", q=0, p=[0.5, 0.5], y="none"),
    ),
    (
        Majority(output="q", within=0.6, otherwise=BestQuality(metric="f1", otherwise=LAST)),
        [A, B, C], ("a", "best_quality", {"q": 1.0}),
    ),
    (
        Majority(output="q", otherwise=BestQuality(metric="f1", otherwise=LAST)),
        [silent("a"), silent("b"), C], combined("fallback", q=-1.0),
    ),
    (
        Majority(output="q", otherwise=BestQuality(metric="f1")), [C],
        "majority: fewer than 3 answers with 'q' in time; "
        "best_quality: no candidate with the metric 'f1' answered in time",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "answers", "expected"), CASES)
def test_the_decision_in_every_order_of_arrival(policy, answers, expected):
    asked = [*(a.candidate for a in answers), "never"]
    for order in permutations(answers):
        (found,) = decided(policy, order, 1, asked=asked, metrics=METRICS)
        if isinstance(expected, tuple) and isinstance(found, tuple):
            assert found[:2] == expected[:2]
            assert found[2] == {
                n: v if isinstance(v, str) else pytest.approx(v) for n, v in expected[2].items()
            }
        else:
            assert found == expected


def test_first_is_whoever_came_first():
    for order in permutations([A, B, C]):
        first = order[0].candidate
        ((by, rule, _),) = decided(First(), order, 1)
        assert (by, rule) == (first, "first")
        ((by, *_),) = decided(First(), [silent("d"), *order], 1)
        assert by == first
    assert decided(First(), [silent("a")], 1) == ["first: no candidate answered in time"]


def test_a_tie_goes_to_the_value_that_came_first():
    policy = Majority(output="y")
    for order in permutations(TWO_TWO):
        first = 1 if order[0].candidate in "ac" else 2
        assert decided(policy, order, 1) == [("", "majority", {"y": first})]


PARTIAL = [
    answer("a", rows=[0, 1], q=[1.0, 2.0]),
    answer("b", q=[5.0, 2.0, 7.0]),
    answer("c", rows=[1, 2], q=[2.0, 9.0]),
]


def test_records_are_decided_one_by_one():
    assert decided(Prefer(candidates=("a", "c")), PARTIAL, 3) == [
        ("a", "prefer", {"q": 1.0}),
        ("a", "prefer", {"q": 2.0}),
        ("c", "prefer", {"q": 9.0}),
    ]
    assert decided(Majority(output="q", otherwise=MeanAnswer(output="q")), PARTIAL, 3) == [
        ("", "mean", {"q": 3.0}),
        ("", "majority", {"q": 2.0}),
        ("", "mean", {"q": 8.0}),
    ]


def test_outputs_may_differ_between_candidates_and_shapes_between_records():
    answers = [answer("a", rows=[0], p=[0.5]), answer("b", rows=[1], p=[[0.1, 0.2]], extra=["x"])]
    assert decided(MeanAnswer(output="p"), answers, 2) == [
        ("", "mean", {"p": 0.5}),
        ("", "mean", {"p": pytest.approx([0.1, 0.2])}),
    ]
    assert decided(First(), answers, 2) == [
        ("a", "first", {"p": 0.5}),
        ("b", "first", {"p": [0.1, 0.2], "extra": "x"}),
    ]


def test_only_those_who_were_asked_decide_and_shadows_do_not():
    asked = [Asked("a", (0,)), Asked("b", None, shadow=True)]
    assert decided(First(), PARTIAL, 3, asked=asked) == [
        ("a", "first", {"q": 1.0}),
        *["first: no candidate answered in time"] * 2,
    ]
    shadows = [Asked("b", None, shadow=True)]
    assert decided(Fallback(value={"q": 0}), PARTIAL, 1, asked=shadows) == [("", "fallback", {"q": 0})]
    assert decided(Majority(output="q"), [], 1, asked=shadows)[0].startswith("majority: fewer")


def test_a_second_answer_of_a_candidate_is_passed_over():
    answers = batch([A], 1)
    assert not answers.add(answer("a", q=[9.0])) and not answers.add(answer("unknown", q=[9.0]))
    assert told(decide(First(), answers)) == [("a", "first", {"q": 1.0})]
    assert answers.complete


def test_an_answer_that_is_not_finite_does_not_count():
    answers = [answer("a", q=[np.nan, 1.0]), answer("b", q=[3.0, 3.0])]
    assert decided(Prefer(candidates=("a", "b")), answers, 2) == [
        ("b", "prefer", {"q": 3.0}),
        ("a", "prefer", {"q": 1.0}),
    ]
    report = batch(answers, 2).reported(final=True)[0]
    assert (report.scored.tolist(), report.bad) == ([False, True], {0: "its 'q' is not finite"})


def _scored(rows, columns):
    made = to_columns({name: np.array(values) for name, values in columns.items()})
    return Answer("id", "t", "a", AnswerOutcome.SCORED, rows=rows, columns=made)


@pytest.mark.parametrize(
    "broken",
    [
        _scored(None, {"q": [1.0]}),
        _scored((0, 1, 2), {"q": [1.0]}),
        _scored((5,), {"q": [1.0]}),
        _scored((-1,), {"q": [1.0]}),
        _scored(None, {"q": 1.0}),
        _scored(None, {}),
    ],
)
def test_an_answer_that_does_not_fit_the_batch_has_failed(broken):
    answers = batch([broken, B], 2, ["a"])
    assert decided(First(), [broken], 2) == ["first: no candidate answered in time"] * 2
    (report,) = answers.reported(final=True)
    assert (report.state, bool(report.reason)) == ("failed", True)


def test_a_batch_of_nothing_is_decided():
    for policy, *_ in CASES:
        decision = decide(policy, batch([], 0, ["a"]))
        assert not decision.parts and not decision.waiting.any()


STEPS = [
    (First(), [A, B, C], 1),
    (Prefer(candidates=("a", "b")), [B, A, C], 2),
    (Prefer(candidates=("a", "b")), [C, A, B], 2),
    (Prefer(candidates=("a", "b")), [silent("a"), B, C], 2),
    (BestQuality(metric="f1"), [B, A, C], 2),
    (BestQuality(metric="f1"), [A, B, C], 1),
    (Majority(output="q", least=1), [A, answer("b", q=[1.0]), C], 2),
    (Majority(output="q", least=1), [A, B, C], 3),
    (Majority(output="q", least=3), [A, silent("b"), C], 2),  # three will never come together
    (Majority(output="q", least=1, within=1.0), [A, answer("b", q=[1.0]), C], 3),
    (MeanAnswer(output="q"), [A, B, C], 3),
    (MeanAnswer(output="q", weights={"a": 1.0}), [A, B, C], 1),
    (MeanAnswer(output="q", least=3, otherwise=First()), [silent("a"), B, C], 2),
    (MedianAnswer(output="q"), [A, silent("b"), silent("c")], 3),
    (BestConfidence(confidence="p"), [*SURE], 3),
    (Agreement(output="q", tolerance=9.0), [A, B, C], 3),
    (Fallback(value={"q": 1}), [A, B, C], 0),
    (Prefer(candidates=("a",), otherwise=Fallback(value={"q": 1})), [B, silent("a"), C], 2),
]


@pytest.mark.parametrize(("policy", "answers", "steps"), STEPS)
def test_a_decision_is_settled_as_soon_as_it_can_be(policy, answers, steps):
    asked = [a.candidate for a in answers]
    sure = [
        not decide(policy, batch(answers[:known], 1, asked, METRICS), final=False).waiting.any()
        for known in range(len(answers) + 1)
    ]
    assert sure == [known >= steps for known in range(len(answers) + 1)]
