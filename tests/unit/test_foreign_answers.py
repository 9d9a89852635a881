"""What another than the arm's model answered is no evidence about the arm, and is counted."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from schemas.lifecycle.quality import EvidenceBatch, read_message, write_message
from tests.experiment_evidence import DECLARED, evidence
from tests.outcome_cases import JUDGING, batch, result
from tests.unit.test_experiment_controller import Harness
from udfs.lifecycle.experiments.declaration import Arm
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.lifecycle.outcomes.evidence import evidence as told
from udfs.lifecycle.outcomes.joining import Settled
from udfs.lifecycle.outcomes.messages import unpack
from udfs.lifecycle.outcomes.reading import Reader

HALF = replace(DECLARED, ramp=(1.0,), most_entities=100_000, guardrails=())
START = write_order(Order("start", HALF))
PAIRED = replace(
    HALF, arms={"control": Arm("old", 3), "treatment": Arm(shadow="new", version=4)}, paired=True
)


def by(made: EvidenceBatch, new: tuple[str, int] = ("new", 4), level: float | None = None) -> EvidenceBatch:
    """Evidence, the treatment's answered by `new`; with `level` all are right in so many cases."""
    whose = [new if arm == "treatment" else ("old", 3) for arm in made.arms]
    models, versions = zip(*whose, strict=True)
    if level is not None:
        draws = np.random.default_rng(int(made.entities[0][1:]))
        right = draws.random(len(whose)) < level
        made = replace(made, values={"correct": tuple(right.astype(float).tolist())})
    return read_message(EvidenceBatch, write_message(replace(made, models=models, versions=versions)))


@pytest.mark.parametrize("new", [("old", 3), ("other", 4), ("new", 3)])
def test_a_treatment_that_is_not_there_is_not_judged_by_the_answers_of_others(new):
    harness = Harness(START)
    for k in range(20):
        assert harness.tell(by(evidence(k * 50, 50, 0, 0.0, HALF), new)) == []
    harness.said += harness.controller.on_timer(9)
    last = harness.events[-1]
    others = sum(arm == "treatment" for k in range(20) for arm in evidence(k * 50, 50, 0, 0.0, HALF).arms)
    assert last.kind == "progress" and last.arms["treatment"].by_others == others > 400
    assert last.arms["control"].by_others == 0 and last.arms["treatment"].entities == 0
    assert last.entities < 10  # the others wait too, but those before the first such record
    assert f"another model or version answered: {others:,} of treatment" in last.evidence
    # once it is there, it is judged as ever, by entities that were passed over too
    again = harness.restored()
    kinds = [kind for k in range(20) for kind in again.tell(by(evidence(k * 50, 50, 0, 0.0, HALF)))]
    assert kinds == ["rolled_back"] and again.events[-1].metric == "correct"


def test_the_version_that_is_not_known_and_evidence_of_older_jobs_count():
    for made in (by(evidence(0, 50, 0, 0.5, HALF), ("new", 0)), evidence(0, 50, 0, 0.5, HALF)):
        harness = Harness(START)
        harness.tell(by(made, ("", 0)) if made.models else made)
        harness.said += harness.controller.on_timer(9)
        assert harness.events[-1].entities == 50 and harness.events[-1].arms["treatment"].by_others == 0


@pytest.mark.parametrize("seed", range(5))
def test_equal_arms_are_not_told_apart_by_when_one_was_away(seed):
    """All are right in 90 %, but for the nights, in 10 %; in these the treatment's model is away."""
    harness = Harness(START)
    for k in range(60):
        night = k % 20 >= 10
        made = evidence(1_000_000 * seed + k * 100, 100, 0, 0.8, HALF)
        assert harness.tell(by(made, ("old", 3) if night else ("new", 4), 0.1 if night else 0.9)) == []
    harness.said += harness.controller.on_timer(9)
    last = harness.events[-1]
    assert last.entities > 2_900 and all(abs(arm.mean - 0.9) < 0.06 for arm in last.arms.values())


def test_of_pairs_neither_counts_where_the_shadow_is_another_version():
    harness = Harness(write_order(Order("start", PAIRED)))
    made = by(evidence(0, 100, 0, 0.8, HALF), ("old", 3))
    right = made.values["correct"]
    shadow = {"new/correct": (1.0,) * 100, "new/version": (3.0,) * 40 + (None,) * 10 + (4.0,) * 50}
    harness.tell(replace(made, values={"correct": right, **shadow}))
    harness.said += harness.controller.on_timer(9)
    last = harness.events[-1]
    assert last.entities == 60 and sum(arm.by_others for arm in last.arms.values()) == 40


def test_evidence_says_whose_answer_it_is_also_where_none_came_in_time():
    scored = {"outcome": "scored", "version": 4, "scores": {"p": 0.5}}
    late, shadow = {"outcome": "late", "version": 7}, {**scored, "shadow": True, "version": 9}
    cases = {
        ("forest", 1): {},
        ("slow", 7): {"model": "", "version": 0, "answers": {"next": shadow, "slow": late, "b": late}},
        ("", 0): {"model": "", "version": 0, "answers": {"next": shadow}},
    }
    part = {"experiments": {"e": {"arm": "treatment", "step": 1}}}
    results = [result(k, 0, stamp={**part, **stamp}) for k, stamp in enumerate(cases.values())]
    (delivery,) = Reader({"wine": JUDGING}, 1, 1).results(batch(results)).deliveries.values()
    waited = [unpack(packed) for _, _, packed in delivery.predictions[0]]
    (found,) = told([Settled("", one, None, None, 1) for one in waited], JUDGING, 5)
    assert list(zip(found.models, found.versions, strict=True)) == list(cases)
    assert found.values["next/version"] == (None, 9.0, 9.0)
