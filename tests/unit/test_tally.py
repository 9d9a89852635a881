"""What the statistics say of candidates."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from schemas.plans.plan import MeanAnswer, Prefer
from schemas.results.answers import AnswerOutcome, Asked, Reason
from schemas.results.records import CandidateStats, decode, encode
from tests.decision_cases import answer, batch, silent
from udfs.ensemble.collection.tally import Tallies
from udfs.ensemble.policies import decide


def counted(tallies: Tallies) -> dict[str, CandidateStats]:
    return {f"{s.candidate}:{s.version}": s for s in tallies.news()}


ANSWERS = [
    answer("fast", q=[1.0, 2.0, 3.0, 4.0]),
    msgspec.structs.replace(answer("smart", rows=[0, 1], q=[1, 9]), waited_ms=40.0),
    answer("shadow", q=[1.0, 2.0, 3.0, 9.0]),
    silent("shy"),
    msgspec.structs.replace(silent("stuck", AnswerOutcome.FAILED), reason=Reason.ABANDONED.value),
]
ASKED = [
    Asked("fast"),
    Asked("slow"),
    Asked("smart", (0, 1, 2)),
    Asked("shadow", None, True),
    Asked("shy", (3,)),
    Asked("stuck"),
]


def test_every_request_is_counted_once():
    tallies = Tallies(subtask=5)
    answers = batch(ANSWERS, 4, ASKED)
    tallies.add("wine", answers, decide(Prefer(candidates=("smart", "fast")), answers))
    tallies.never_came("wine", "slow", 4)
    found = counted(tallies)
    for stats in found.values():
        assert stats.asked == stats.answered + stats.late + stats.declined + stats.failed
    assert {
        name: (s.asked, s.answered, s.wins, s.disagreements, s.late, s.declined, s.failed, s.fenced, s.shadow)
        for name, s in found.items()
    } == {
        "fast:3": (4, 4, 2, 1, 0, 0, 0, 0, False),
        "smart:3": (3, 2, 2, 0, 0, 0, 1, 0, False),
        "shadow:3": (4, 4, 0, 2, 0, 0, 0, 0, True),
        "shy:0": (1, 0, 0, 0, 0, 1, 0, 0, False),
        "stuck:0": (4, 0, 0, 0, 0, 0, 4, 4, False),
        "slow:0": (4, 0, 0, 0, 4, 0, 0, 0, False),
    }
    assert (found["smart:3"].waited_p50_ms, found["smart:3"].key) == (40.0, "wine/smart/3/5/decided")
    assert decode(CandidateStats, encode(found["smart:3"])) == found["smart:3"]
    assert not counted(tallies)


def test_whoever_comes_after_the_decision_is_counted_with_its_version():
    tallies = Tallies(0)
    some = msgspec.structs.replace(answer("a", rows=[0], q=[1.0]), bad={1: "missing"}, waited_ms=9.0)
    tallies.came_after(some, 2, late=False)
    tallies.came_after(some, 2, late=True)
    tallies.came_after(silent("a"), 2, late=False)
    tallies.never_came("wine", "a", 2)
    (stats,) = tallies.news()
    assert (stats.version, stats.asked, stats.answered, stats.failed, stats.late, stats.declined) == (
        3, 8, 1, 1, 4, 2
    )  # fmt: skip
    assert stats.waited_p99_ms == 9.0


@pytest.mark.parametrize("late", [True, False])
def test_a_call_that_was_given_up_is_counted_whenever_it_is_told(late):
    tallies = Tallies(0)
    tallies.came_after(
        msgspec.structs.replace(silent("a", AnswerOutcome.FAILED), reason=Reason.ABANDONED.value),
        5,
        late=late,
    )
    (stats,) = tallies.news()
    assert (stats.asked, stats.fenced, stats.late, stats.failed) == (5, 5, 5 * late, 5 * (not late))


def test_another_version_has_its_own_counts():
    tallies = Tallies(0)
    for version in (3, 4, 3):
        tallies.came_after(msgspec.structs.replace(answer("a", q=[1.0]), version=version), 1, late=False)
    tallies.never_came("wine", "a", 1)  # counts with the one that answered last
    assert {name: s.asked for name, s in counted(tallies).items()} == {"a:4": 1, "a:3": 3}


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ([1.0], [1], 0),
        (np.array([0.1], "f4"), [0.1], 0),
        ([0.1], [0.1001], 1),
        (["x"], ["x"], 0),
        (["x"], ["y"], 1),
        (["1"], [1], 1),
        ([[0.1, 0.9]], [[0.4, 0.6]], 0),
        ([[0.1, 0.9]], [[0.6, 0.4]], 1),
    ],
)
def test_disagreement_is_by_label(one, other, differ):
    answers = batch([answer("a", q=one, c=[0.9]), answer("b", q=other, d=[0.1])], 1)
    tallies = Tallies(0)
    tallies.add("wine", answers, decide(Prefer(candidates=("a",)), answers))
    assert counted(tallies)["b:3"].disagreements == differ


def test_a_combined_value_has_no_winner():
    tallies = Tallies(0)
    answers = batch([answer("a", q=[1.0]), answer("b", q=[3.0])], 1)
    tallies.add("wine", answers, decide(MeanAnswer(output="q"), answers))
    assert [(s.wins, s.disagreements) for s in tallies.news()] == [(0, 1), (0, 1)]
