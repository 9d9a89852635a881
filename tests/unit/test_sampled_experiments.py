"""Experiments with Thompson sampling: shares follow what is known, and decisions are as sure as without."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta

from prove.sampling import course
from schemas.errors import ExperimentError
from schemas.lifecycle.experiments import ExperimentEvent
from schemas.lifecycle.quality import EvidenceBatch
from schemas.plans.plan import Only, Plan, Split, read_plan, write_plan
from tests.experiment_evidence import published_plan
from udfs.ensemble.routing.sticky_hash import draw
from udfs.lifecycle.experiments.assignment import drawn, treated
from udfs.lifecycle.experiments.controlling import Controller, CountedInMemory, PlanOrdered
from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric, Sampling, read_experiment
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.lifecycle.experiments.running import Running

TOML = """
name = "three"
data_type = "wine"
entity = "customer"

[arms.control]
model = "old"
[arms.plain]
model = "plain"
version = 2
[arms.deep]
model = "deep"

[primary]
name = "correct"

[sampling]
every = 200
least = 0.1
"""
DECLARED = read_experiment(TOML)
ARMS = DECLARED.compared
PLANS = {title: Plan(route=Only((arm.model,))) for title, arm in DECLARED.arms.items()}


class Harness:
    """A controller of one experiment, asked about entities in the arms that the plan in force gives them."""

    def __init__(self, declared: Experiment = DECLARED) -> None:
        self.counted, self.said = CountedInMemory(), []
        self.controller = Controller(self.counted)
        self.order(Order("start", declared))

    def order(self, order: Order) -> str:
        said = list(self.controller.order("wine", "three", write_order(order), 1000, 5))
        self.said += said
        return next((one.reason for one in said if isinstance(one, ExperimentEvent)), "")

    @property
    def plans(self) -> list[Plan]:
        return [read_plan(one.plan) for one in self.said if isinstance(one, PlanOrdered)]

    @property
    def events(self) -> list[ExperimentEvent]:
        return [one for one in self.said if isinstance(one, ExperimentEvent)]

    @property
    def split(self) -> Split:
        split = self.plans[-1].experiment
        assert isinstance(split, Split)
        return split

    @property
    def runs(self) -> bool:
        return isinstance(self.plans[-1].experiment, Split)

    def tell(self, first: int, count: int, right: dict[str, float], split: Split | None = None) -> None:
        split = split or self.split
        names = [f"c{k}" for k in range(first, first + count)]
        shares = {arm.name: arm.share for arm in split.arms}
        titles = [ARMS[at] for at in drawn(DECLARED, [name.encode() for name in names], shares)]
        values = np.random.default_rng(first).random(count) < [right[title] for title in titles]
        self.said += self.controller.evidence(
            EvidenceBatch(
                data_type="wine",
                experiment="three",
                entities=tuple(names),
                arms=tuple(titles),
                steps=(split.step,) * count,
                event_times=(1,) * count,
                values={"correct": tuple(values.astype(float).tolist())},
            ),
            7,
        )

    def run(self, right: dict[str, float], batches: int = 200, restored: bool = False) -> Harness:
        for k in range(batches):
            if not self.runs:
                break
            if restored:
                log = self.controller.log("three")
                self.controller = Controller(self.counted)
                self.controller.restore(log)
            self.tell(k * 50, 50, right)
        return self


BEST_IS_DEEP = {"control": 0.6, "plain": 0.4, "deep": 0.8}


def test_it_begins_with_equal_shares_for_all_arms():
    harness = Harness()
    assert [arm.name for arm in harness.split.arms] == ["control", "plain", "deep"]
    assert [arm.share for arm in harness.split.arms] == [1 / 3] * 3
    assert [arm.plan for arm in harness.split.arms] == list(PLANS.values())
    assert harness.events[0].steps == 0 and harness.events[0].share == pytest.approx(2 / 3)


def test_what_is_better_gets_more_and_is_promoted_and_what_is_worse_is_out():
    harness = Harness().run(BEST_IS_DEEP)
    assert harness.plans[-1] == PLANS["deep"]
    last = harness.events[-1]
    assert (last.kind, last.treatment, last.metric) == ("promoted", "deep", "correct")
    assert last.evidence.startswith("deep: correct") and last.arms["deep"].share == 1
    splits = [plan.experiment for plan in harness.plans if isinstance(plan.experiment, Split)]
    assert [split.step for split in splits] == list(range(len(splits))) and len(splits) > 2
    shares = [{arm.name: arm.share for arm in split.arms} for split in splits]
    assert shares[-1]["deep"] > 0.6 and shares[-1]["plain"] < 0.2
    assert all(min(of.values()) >= 0.1 and sum(of.values()) == pytest.approx(1) for of in shares)
    assert sum(arm.entities for arm in last.arms.values()) == last.entities


def test_who_is_out_keeps_its_entities_and_they_get_the_control_s_plan():
    harness = Harness(msgspec.structs.replace(DECLARED, smallest=0.0)).run(
        {"control": 0.8, "plain": 0.2, "deep": 0.8}, batches=60
    )
    assert harness.runs and "plain is out: correct: betting evidence" in harness.events[-1].evidence
    arms = {arm.name: arm for arm in harness.split.arms}
    assert arms["plain"].plan == PLANS["control"] and arms["plain"].share == 0.1
    assert arms["deep"].plan == PLANS["deep"] and "treatment" not in arms


def test_where_all_are_out_it_is_rolled_back():
    harness = Harness().run({"control": 0.9, "plain": 0.3, "deep": 0.3})
    assert harness.plans[-1] == PLANS["control"] and harness.events[-1].kind == "rolled_back"
    assert harness.events[-1].evidence.count("is out") == 2


def test_a_restore_anywhere_decides_the_same_and_nothing_twice():
    assert Harness().run(BEST_IS_DEEP, restored=True).said == Harness().run(BEST_IS_DEEP).said


def test_evidence_of_earlier_steps_may_come_late_and_that_of_unknown_steps_is_passed_over():
    harness = Harness()
    first = harness.split
    harness.run({"control": 0.5, "plain": 0.5, "deep": 0.5}, batches=4)
    assert harness.split.step == 1
    harness.tell(1000, 100, BEST_IS_DEEP, first)
    assert harness.events[-1].kind == "step"
    (told,) = harness.controller.on_timer(9)
    assert told.entities == 300
    harness.tell(2000, 100, BEST_IS_DEEP, msgspec.structs.replace(first, step=7))
    assert list(harness.controller.on_timer(9)) == []


def test_shares_are_the_probability_of_being_the_best():
    declared = msgspec.structs.replace(
        DECLARED, arms={"control": Arm("old"), "deep": Arm("deep")}, sampling=Sampling(100, 0.001)
    )
    running = Running.begun(declared, 1, 0)
    arms = np.array(["control", "deep"] * 50)
    right = np.where(arms == "deep", np.arange(100) % 10 < 8, np.arange(100) % 10 < 6).astype(float)
    running.take(arms, {"correct": right.tolist()}, np.zeros(100, np.int64))
    good = {title: right[arms == title].sum() for title in ("control", "deep")}
    control, deep = (beta(1 + good[title], 51 - good[title]) for title in ("control", "deep"))
    expected, _ = quad(lambda x: deep.pdf(x) * control.cdf(x), 0, 1)
    assert running.shares["deep"] == pytest.approx(0.001 + 0.998 * expected, abs=0.02)


def test_lower_may_be_better_and_values_have_bounds_of_their_own():
    metric = Metric("absolute_error", better="lower", low=0.0, high=10.0)
    declared = msgspec.structs.replace(DECLARED, primary=metric)
    running = Running.begun(declared, 1, 0)
    arms = np.array(["control", "plain", "deep"] * 100)
    error = np.where(arms == "deep", 4.6, 5.4)
    running.take(arms, {"absolute_error": error.tolist()}, np.zeros(300, np.int64))
    assert max(running.shares, key=running.shares.__getitem__) == "deep"


def test_wrong_decisions_are_as_rare_as_declared():
    """`python -m prove sampling` shows it in 1,000 runs; here in so many that a broken weight is seen."""
    rng = np.random.default_rng(3)
    null = [course(rng, (0.2, 0.2, 0.2), 3000) for _ in range(60)]
    assert sum(one.action != "continue" or bool(one.out) for one in null) <= 6


def test_a_job_draws_the_arms_that_the_controller_counts():
    split, names = Harness().split, [b"c%d" % k for k in range(2000)]
    shares = {arm.name: arm.share for arm in split.arms}
    by_place = {str(at): arm.share for at, arm in enumerate(split.arms)}
    found = drawn(DECLARED, names, shares)
    assert (found == draw(names, by_place, split.salt)).all()
    assert (treated(DECLARED, names, 0) == (found > 0)).all()


def test_people_say_which_arm_is_promoted():
    harness = Harness()
    said = "say which arm is promoted, one of plain, deep"
    assert said in harness.order(Order("promote")) and said in harness.order(Order("promote", arm="x"))
    assert harness.order(Order("promote", arm="plain", reason="cheap")) == "cheap"
    assert harness.plans[-1] == PLANS["plain"] and harness.events[-1].treatment == "plain"


def test_another_version_of_any_arm_s_model_rolls_back():
    harness = Harness()
    assert list(harness.controller.replaced("wine", "deep", 3, 8)) == []
    _, event = harness.controller.replaced("wine", "plain", 3, 8)
    assert (event.kind, event.metric) == ("rolled_back", "version")


def test_without_its_state_it_goes_on_from_the_plans_that_are_there():
    whole = Harness().run(BEST_IS_DEEP)
    fresh = Harness()
    for version, plan in enumerate(whole.plans[:-1], 1000):
        said = fresh.controller.planned(published_plan("three", version, write_plan(plan)), 8)
        assert list(said) == []
    fresh.tell(0, 50, BEST_IS_DEEP, whole.plans[-2].experiment)
    (told,) = fresh.controller.on_timer(9)
    assert told.entities == 50 and told.step == whole.plans[-2].experiment.step
    assert told.arms["deep"].share == whole.plans[-2].experiment.arms[2].share
    said = fresh.controller.planned(published_plan("three", 2000, write_plan(whole.plans[-1])), 8)
    (event,) = said
    assert (event.kind, event.treatment) == ("promoted", "deep")


@pytest.mark.parametrize("changed", ["name", "order", "plan", "entity", "salt", "control"])
def test_a_plan_of_other_arms_under_its_name_takes_its_place(changed: str):
    """Jobs follow it, and what entities get then is not what the experiment was to compare."""
    harness = Harness()
    control, plain, deep = harness.split.arms
    replace = msgspec.structs.replace
    arms = {
        "name": (control, plain, replace(deep, name="other")),
        "order": (plain, control, deep),
        "plan": (control, plain, replace(deep, plan=plain.plan)),
        "control": (replace(control, plan=plain.plan), plain, deep),
    }.get(changed, (control, plain, deep))
    more = {changed: "other"} if changed in ("entity", "salt") else {}
    text = write_plan(Plan(experiment=replace(harness.split, arms=arms, step=5, **more)))
    (event,) = harness.controller.planned(published_plan("three", 2000, text), 8)
    assert event.kind == "stopped" and "'three' version 2000 was put in force with other arms" in event.reason


def test_a_plan_of_it_may_have_any_shares_and_arms_that_are_out():
    harness = Harness()
    control, plain, deep = harness.split.arms
    replace = msgspec.structs.replace
    arms = (control, replace(plain, share=0.2), replace(deep, plan=control.plan, share=control.share))
    arms = (replace(control, share=1 - 0.2 - control.share), *arms[1:])
    text = write_plan(Plan(experiment=replace(harness.split, arms=arms, step=5)))
    assert list(harness.controller.planned(published_plan("three", 2000, text), 8)) == []
    harness.tell(0, 50, BEST_IS_DEEP, msgspec.structs.replace(harness.split, step=5, arms=arms))
    (told,) = harness.controller.on_timer(9)
    assert (told.step, told.entities, told.arms["plain"].share) == (5, 50, 0.2)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("every = 200", "every = 0", "every must be from 1 to"),
        ("least = 0.1", "least = 0.4", "between 0 and 0.333 for 3 arms"),
        ("least = 0.1", "least = 0.0", "between 0 and"),
        ('name = "three"', 'name = "three"\nramp = [0.5, 1.0]', "no pairs, no ramp and no share"),
        ('name = "three"', 'name = "three"\nshare = 0.3', "no pairs, no ramp and no share"),
        ('name = "correct"', 'name = "revenue"\nkind = "mean"', "'revenue' is a mean: with sampling all"),
        ("[arms.plain]", "[arms.control2]", ""),
        ("[arms.control]", "[arms.usual]", "no arm 'control'"),
        ("[sampling]", "[sampling]\nmost = 1", "unknown field"),
    ],
)
def test_a_declaration_is_checked(old, new, said):
    if not said:
        assert read_experiment(TOML.replace(old, new)).treatments == ("control2", "deep")
        return
    with pytest.raises(ExperimentError, match=said):
        read_experiment(TOML.replace(old, new))


def test_an_arm_alone_is_no_experiment():
    with pytest.raises(ExperimentError, match="from 2 to 8 arms"):
        msgspec.structs.replace(DECLARED, arms={"control": Arm("old")})
