"""Both models answer each record, and an entity's two values are compared: sooner, and still soundly."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest
from msgspec.structs import replace

from schemas.errors import ExperimentError
from schemas.lifecycle.experiments import ExperimentEvent
from schemas.plans.plan import Only, Plan, read_plan
from tests.outcome_cases import JUDGING
from tests.unit.test_rehearsing import COUNT, answered, settled, stored
from udfs.io.s3 import S3Options
from udfs.lifecycle.evidence.betting import BettingTest
from udfs.lifecycle.experiments.arm_plans import plan_of_step
from udfs.lifecycle.experiments.controlling import Controller, CountedInMemory, PlanOrdered
from udfs.lifecycle.experiments.deciding import ExperimentState, begin, decide, decide_pairs
from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric, read_experiment
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.lifecycle.outcomes.evidence import evidence
from udfs.lifecycle.outcomes.fates import OutcomeFate
from udfs.lifecycle.outcomes.joining import Settled
from udfs.lifecycle.outcomes.rehearsing import rehearse

PAIRED = Experiment(
    name="wine-v4",
    data_type="wine",
    entity="customer",
    arms={"control": Arm("old", 3), "treatment": Arm(shadow="new", version=4)},
    primary=Metric("correct"),
    ramp=(1.0,),
    paired=True,
)
FLAT = replace(PAIRED, arms={"control": Arm("old"), "treatment": Arm("new")}, paired=False)


def pairs(rng: np.random.Generator, count: int, worse: float, better: float) -> tuple[np.ndarray, np.ndarray]:
    """Of n entities whether the control and the treatment are right: 80 % are alike, then some turn."""
    control = (rng.random(count) < 0.8).astype(float)
    turned = rng.random(count) < np.where(control > 0, worse, better)
    return control, np.where(turned, 1 - control, control)


def until(rng: np.random.Generator, worse: float, better: float, paired: bool, most: int = 8_000):
    """What is decided, and after how many entities."""
    experiment = PAIRED if paired else FLAT
    state = begin(experiment)
    while state.entities < most:
        control, treatment = pairs(rng, 100, worse, better)
        if paired:
            made = decide_pairs(experiment, state, {"correct": control}, {"correct": treatment})
        else:
            arms = rng.random(100) < 0.5
            made = decide(experiment, state, arms, {"correct": np.where(arms, treatment, control)})
        if made.action != "continue":
            break
    return made.action, state.entities


def test_equal_models_are_seldom_told_apart_and_a_worse_one_far_sooner_than_by_arms():
    rng = np.random.default_rng(7)
    wrong = [until(rng, 0.02, 0.08, True)[0] for _ in range(200)]  # as many turn one way as the other
    assert wrong.count("continue") >= 190
    worse = [until(rng, 0.08, 0.02, True) for _ in range(40)]
    apart = [until(rng, 0.08, 0.02, False) for _ in range(40)]
    assert {action for action, _ in worse} == {"roll_back"}
    assert np.median([n for _, n in worse]) < 0.35 * np.median([n for _, n in apart])
    better = [until(rng, 0.005, 0.5, True)[0] for _ in range(40)]
    assert set(better) == {"promote"}


def test_bets_on_pairs_keep_their_promise_whatever_the_pairs_are():
    rng = np.random.default_rng(8)
    found = 0
    for _ in range(400):
        test, shared = BettingTest(1, 0.0), rng.random(1_000)
        one, other = (np.clip(shared + rng.normal(0, 0.2, 1_000), 0, 1) for _ in range(2))
        for start in range(0, 1_000, 50):
            test.add_pairs(one[start : start + 50], other[start : start + 50])
        found += test.highest >= -math.log(0.05)
    assert found <= 30  # of 400 at 5 %: more in 1 %
    with pytest.raises(ExperimentError, match=r"\[0, 1\]"):
        BettingTest().add_pairs(np.array([0.5]), np.array([1.5]))


def again(state: ExperimentState) -> ExperimentState:
    """As it is in the controller's state."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=ExperimentState)


def test_means_and_quantiles_are_compared_in_pairs_and_outlive_a_restart():
    rng, more = np.random.default_rng(9), {"primary": Metric("error", "mean", "lower")}
    slow = Metric("latency", "quantile", "lower", q=0.5, tolerance=1.0)
    shared = rng.normal(0, 50, 3_000)
    control = {"error": shared, "latency": np.full(3_000, 10.0)}
    higher = {"error": shared + rng.normal(1, 1, 3_000), "latency": np.full(3_000, 10.0)}
    experiment = replace(PAIRED, **more, guardrails=(slow,))
    state = again(begin(experiment))
    made = decide_pairs(experiment, state, control, higher)
    assert (made.action, made.metric) == ("roll_back", "error")
    assert again(state) == state and decide_pairs(experiment, again(state), control, control) == made
    late = decide_pairs(experiment, begin(experiment), control, {**control, "latency": np.full(3_000, 20.0)})
    assert (late.action, late.metric) == ("roll_back", "latency")


def test_all_records_are_asked_of_both_and_the_control_decides():
    plan = plan_of_step(PAIRED, 0)
    assert {arm.plan for arm in plan.experiment.arms} == {Plan(route=Only(("old",)), shadow=("new",))}
    for changes, said in (
        ({"ramp": (0.5, 1.0)}, r"has no ramp: say ramp = \[1.0\]"),
        ({"arms": FLAT.arms}, "the control is a model, the treatment a shadow"),
    ):
        with pytest.raises(ExperimentError, match=said):
            replace(PAIRED, **changes).__post_init__()
    text = 'name = "e"\ndata_type = "t"\nentity = "u"\npaired = true\nramp = [1.0]\n'
    text += 'primary.name = "correct"\n[arms.control]\nmodel = "a"\n[arms.treatment]\nshadow = "b"\n'
    assert read_experiment(text).paired


def shadowed(rows: list[Settled]) -> list[Settled]:
    """As results of the experiment's plan: the new model is a shadow, and the stamp names the arm."""
    told = orjson.dumps({"wine-v4": {"arm": "control", "step": 0}}).decode()
    found = []
    for one in rows:
        answers = orjson.loads(one.predicted.answers)
        if "new" in answers:
            answers["new"]["shadow"] = True
        text = orjson.dumps(answers).decode()
        predicted = replace(one.predicted, answers=text, experiments=told)
        found.append(Settled("", predicted, one.came, one.fate, one.revision, one.replaced))
    return found


@pytest.mark.parametrize(("right", "ends"), [(0.7, "rolled_back"), (0.9, "promoted"), (0.8, "progress")])
def test_the_controller_judges_pairs_from_what_the_outcomes_job_says(right, ends):
    controller = Controller(CountedInMemory())
    said = list(controller.order("wine", "wine-v4", write_order(Order("start", PAIRED)), 1, 0))
    rows = [one for one in shadowed(settled(right)) if one.fate is not OutcomeFate.JOINED]  # as they close
    for start in range(0, len(rows), 200):
        for batch in evidence(rows[start : start + 200], JUDGING, 0):
            assert "new/correct" in batch.values and "new/revenue" not in batch.values
            said += controller.evidence(batch, start)
    said += controller.on_timer(len(rows))
    last = [one for one in said if isinstance(one, ExperimentEvent)][-1]
    assert last.kind == ends
    assert last.arms["control"].entities == last.arms["treatment"].entities > 0
    plans = [read_plan(one.plan) for one in said if isinstance(one, PlanOrdered)]
    if ends == "promoted":
        assert plans[-1].route == Only(("new",))


def test_another_version_of_the_shadow_ends_the_experiment():
    controller = Controller(CountedInMemory())
    list(controller.order("wine", "wine-v4", write_order(Order("start", PAIRED)), 1, 0))
    assert list(controller.replaced("wine", "new", 4, 5)) == []
    *_, last = controller.replaced("wine", "new", 5, 6)
    assert last.kind == "rolled_back" and "version 4 of 'new', and version 5" in last.evidence


def test_stored_pairs_are_judged_the_same_as_shadows_of_the_experiment_were(tmp_path: Path):
    rows = settled(0.7)
    found = rehearse(PAIRED, stored(tmp_path / "candidates", rows), S3Options())
    again = rehearse(PAIRED, stored(tmp_path / "shadows", shadowed(rows)), S3Options())
    assert found.events[-1].kind == again.events[-1].kind == "rolled_back"
    assert 0 < found.unanswered < COUNT // 50 and again.unanswered == 0
    assert answered("new", 4, 1.0)["new"]["outcome"] == "scored"
