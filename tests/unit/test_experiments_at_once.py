"""Several experiments of one data type at once: no entity is in two, and each is judged by its own."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace as replace_data
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from schemas.codecs.json_codec import JsonCodec
from schemas.errors import ExperimentError, PlanError
from schemas.lifecycle.experiments import ExperimentEvent, read_event
from schemas.plans.plan import ByRule, Fallback, Only, Plan, Rule, Split, read_plan, write_plan
from tests.experiment_evidence import DECLARED, evidence, published_plan
from tests.serving_fakes import batch_of
from udfs.ensemble.routing.arms import LEAD_MS, Arms, Sharing
from udfs.ensemble.routing.splitting import Splitting
from udfs.lifecycle.experiments.arm_plans import plan_of_arm, plan_of_step, plan_with, split_of_shares
from udfs.lifecycle.experiments.assignment import in_population, shares_of_step, treated
from udfs.lifecycle.experiments.controlling import Controller, CountedInMemory, PlanOrdered
from udfs.lifecycle.experiments.declaration import Arm, Experiment, read_experiment
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.lifecycle.experiments.running import Running, read_running
from udfs.lifecycle.experiments.trying import tried
from udfs.models.descriptor import DECIDE, build, parse
from udfs.models.quotas import Quotas

A = replace(DECLARED, name="a", population=(0.0, 0.5))
B = replace(
    DECLARED, name="b", population=(0.5, 0.8), arms={"control": Arm("old", 3), "treatment": Arm("third", 1)}
)
ENTITIES = [b"c%d" % k for k in range(20_000)]
OLD, NEW, THIRD = (Plan(route=Only((name,))) for name in ("old", "new", "third"))


def within_chance(count: int, share: float, n: int) -> bool:
    return abs(count - n * share) <= 5 * math.sqrt(n * share * (1 - share))


def both(step: int = 1) -> Plan:
    return plan_with(OLD, [split_of_shares(one, shares_of_step(one, step), step) for one in (B, A)])


def test_populations_are_apart_and_have_their_size():
    last = replace(A, name="c", population=(0.8, 1.0))
    found = [in_population(one, ENTITIES) for one in (A, B, last)]
    assert np.array_equal(sum(one.astype(int) for one in found), np.ones(len(ENTITIES)))
    for one, share in zip(found, (0.5, 0.3, 0.2), strict=True):
        assert within_chance(int(one.sum()), share, len(ENTITIES))
    elsewhere = in_population(replace(A, data_type="tea"), ENTITIES)
    assert within_chance(int((elsewhere & found[0]).sum()), 0.25, len(ENTITIES))
    assert in_population(DECLARED, ENTITIES).all()


@pytest.mark.parametrize("salt", ["", "wine", "x"])
def test_arms_are_independent_of_the_population_whatever_the_salt(salt: str):
    """The salt of the population is the data type: a draw by the same salt must not follow it."""
    inside = in_population(A, ENTITIES)
    arms = treated(replace(A, salt=salt), ENTITIES, 2)
    everywhere = treated(replace(DECLARED, salt=salt or "a"), ENTITIES, 2)
    assert not arms[~inside].any() and np.array_equal(arms[inside], everywhere[inside])
    assert within_chance(int(arms[inside].sum()), 0.5, int(inside.sum()))
    assert within_chance(int(everywhere[~inside].sum()), 0.5, int((~inside).sum()))


def test_another_experiment_moves_no_entity():
    alone = plan_of_step(A, 1)
    batch = batch_of([b'{"customer":"%b"}' % name for name in ENTITIES[:1000]], data_type="wine")
    first, second = ways(alone, batch), ways(both(), batch)
    in_a = {row: way for row, way in second.items() if way[0] == "a"}
    assert in_a == {row: way for row, way in first.items() if way[0] == "a"}
    assert {way for row, way in second.items() if row not in in_a} >= {("b", "treatment", "third")}


def ways(plan: Plan, batch) -> dict[int, tuple[str, str, str]]:
    """Offset -> experiment, arm, and the model that is asked."""
    found = {}
    for part, way in Splitting(read_plan(write_plan(plan)), JsonCodec(), True).parts(batch):
        of = (way.experiment.name, way.experiment.arm) if way.experiment else ("", "")
        assert isinstance(way.routing.plan.route, Only) and read_plan(way.plan) == way.routing.plan
        found |= dict.fromkeys(part.offsets, (*of, way.routing.plan.route.candidates[0]))
    return found


def test_each_record_goes_by_its_experiment_s_arm_and_others_by_the_rest():
    records = [b'{"customer":"%b"}' % name for name in ENTITIES[:1000]]
    found = ways(both(), batch_of([*records, b"{}", b"no json"], data_type="wine"))
    expected = {1000: ("", "", "old"), 1001: ("", "", "old")}
    for one in (A, B):
        arms = treated(one, ENTITIES[:1000], 1)
        for row in np.flatnonzero(in_population(one, ENTITIES[:1000])).tolist():
            title = "treatment" if arms[row] else "control"
            expected[row] = (one.name, title, one.arms[title].model)
    assert found == dict.fromkeys(range(1000), ("", "", "old")) | expected
    assert len(set(expected.values())) == 5


def test_jobs_that_share_the_type_score_each_record_once():
    batch = batch_of(
        [b'{"customer":%d}' % k for k in range(500)], data_type="wine", event_times=[LEAD_MS] * 500
    )
    plan = build(
        data_type="wine", name="experiments", version=1, operation=DECIDE, plan=write_plan(both()).decode()
    )
    scored: list[int] = []
    said = set()
    for model in ("old", "new", "third"):
        sharing = {"wine": Sharing(model, undivided=model == "old")}
        job = Arms(sharing, JsonCodec(), raw_json=True, subtask=0, quotas=Quotas(), now=lambda: 7)
        job.restore("wine", None)
        assert [event.kind.value for event in job.publish(plan, parse(plan))] == ["decides"]
        for part, experiments in job.own(batch)[0]:
            scored += part.offsets
            said |= {(model, name, *of) for name, of in experiments.items()}
    assert sorted(scored) == list(range(500))
    assert said == {
        ("old", "a", "control", 1),
        ("new", "a", "treatment", 1),
        ("old", "b", "control", 1),
        ("third", "b", "treatment", 1),
    }
    far = replace_data(parse(plan), plan=write_plan(replace(both(), shadow=("new",))).decode(), version=2)
    (event,) = job.publish(plan, far)
    assert event.kind.value == "refused" and "the plan asks more than one" in event.reason


def split(**changes) -> Split:
    return replace(both().splits[0], **changes)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (replace(OLD, experiments=()), "from 1 to 8 experiments, not 0"),
        (replace(OLD, experiments=(split(population=msgspec.UNSET),)), "'a': population must rise"),
        (replace(OLD, experiments=(split(population=(0.5, 0.5)),)), "'a': population must rise"),
        (replace(OLD, experiments=(split(population=(0.5, 1.5)),)), "'a': population must rise"),
        (replace(OLD, experiments=(split(), split(name="b", population=(0.4, 0.6)))), "'a' and 'b' share"),
        (replace(OLD, experiments=(split(), split(population=(0.5, 0.6)))), "a name of its own"),
        (
            replace(OLD, experiments=(split(), split(name="b", population=(0.5, 0.6), entity="session"))),
            "one of customer, session",
        ),
        (replace(OLD, experiments=(split(salt=""),)), "'a': the experiment needs its salt"),
        (replace(both(), deadline_ms=0), "deadline_ms must be"),
        (Plan(experiment=split()), "stands in experiments"),
        (replace(both(), experiment=split(population=msgspec.UNSET)), "nothing may be set"),
    ],
)
def test_a_plan_whose_experiments_meet_is_refused(plan: Plan, said: str):
    with pytest.raises(PlanError, match=said):
        read_plan(write_plan(plan))


@pytest.mark.parametrize("population", ["[0.5, 0.2]", "[0.0, 1.1]", "[nan, 1.0]", "[-0.1, 0.5]"])
def test_a_population_that_is_none_is_refused(population: str):
    text = f"""
        name = "a"
        data_type = "wine"
        entity = "customer"
        population = {population}
        arms = {{control = {{model = "old"}}, treatment = {{model = "new"}}}}
        primary = {{name = "correct"}}
    """
    with pytest.raises(ExperimentError, match="a: population must rise within 0 and 1"):
        read_experiment(text)
    assert read_experiment(text.replace(population, "[0.25, 0.5]")).part == (0.25, 0.5)
    with pytest.raises(ExperimentError, match="a: population must rise within 0 and 1"):
        replace(A, population=())


def test_what_was_written_before_there_were_populations_is_read():
    before = plan_of_step(DECLARED, 0)
    assert b"population" not in write_plan(before) and b"experiments" not in write_plan(before)
    assert b"population" not in write_order(Order("start", DECLARED)).encode()
    assert read_plan(write_plan(before)).splits == (before.experiment,)
    event = msgspec.json.encode({"kind": "step", "experiment": "e", "data_type": "t", "at": 1})
    assert read_event(event).population == (0.0, 1.0)


class Harness:
    """A controller of several experiments, whose plans come back at once; `said` is all that it has said."""

    def __init__(self, *experiments: Experiment) -> None:
        self.kept, self.said, self.names = CountedInMemory(), [], [one.name for one in experiments]
        self.plan_logs: dict[str, bytes] = {}
        self.controller = Controller(self.kept)
        for k, one in enumerate(experiments):
            assert self.order(Order("start", one), one.name, 1000 + k) == ""

    def order(self, order: Order, name: str, version: int = 5) -> str:
        return self._heard(self.controller.order("wine", name, write_order(order), version, 5))

    def start(self, experiment: Experiment) -> str:
        """The reason why not; empty: it runs."""
        said = self.order(Order("start", experiment), experiment.name, 5)
        self.names += [] if said else [experiment.name]
        return said

    def tell(self, of: Experiment, first: int, count: int, right: float) -> None:
        if (running := self.running(of)).runs:
            self._heard(self.controller.evidence(evidence(first, count, running.state.step, right, of), 7))

    def running(self, of: Experiment) -> Running:
        return read_running(self.controller.log(of.name))

    def restored(self) -> Harness:
        """With its state in another order, as a map may give it."""
        again = Harness()
        again.kept.entities, again.said, again.names = set(self.kept.entities), self.said, self.names
        for name in reversed(self.names):
            again.controller.restore(self.controller.log(name))
        plans = self.controller.plans
        again.plan_logs = self.plan_logs | {of: plans.log(of) for of in plans.changed()}
        for data_type, log in again.plan_logs.items():
            again.controller.plans.restore(data_type, log)
        return again

    @property
    def plans(self) -> list[PlanOrdered]:
        return [one for one in self.said if isinstance(one, PlanOrdered)]

    @property
    def plan(self) -> Plan:
        return read_plan(self.plans[-1].plan)

    def events(self, of: Experiment) -> list[str]:
        events = [one for one in self.said if isinstance(one, ExperimentEvent)]
        return [one.kind for one in events if one.experiment == of.name]

    def _heard(self, said) -> str:
        found = list(said)
        self.said += found
        assert [planned(self, one) for one in found if isinstance(one, PlanOrdered)] in ([], [[]])
        return next((one.reason for one in found if isinstance(one, ExperimentEvent)), "")


def run(
    harness: Harness, right: dict[str, float], *experiments: Experiment, restart: bool = False
) -> Harness:
    for k in range(120):
        for one in experiments:
            harness = harness.restored() if restart else harness
            harness.tell(one, k * 100, 100, right[one.name])
    return harness


def test_one_plan_holds_all_that_run_and_its_versions_rise():
    harness = Harness(B, A)
    assert [(one.name, one.version) for one in harness.plans] == [
        ("experiments", 1000),
        ("experiments", 1001),
    ]
    assert [one.name for one in harness.plan.splits] == ["a", "b"] and harness.plan.rest == OLD
    run(harness, {"a": 0.92, "b": 0.92}, A, B)
    versions = [one.version for one in harness.plans]
    assert versions == list(range(1000, 1000 + len(versions))) and {p.name for p in harness.plans} == {
        "experiments"
    }
    for before, after in itertools.pairwise(read_plan(one.plan) for one in harness.plans[1:]):
        was, now = ({one.name: one for one in plan.splits} for plan in (before, after))
        assert len([name for name in was if was[name] != now.get(name)]) == 1  # what others have stays
    assert harness.plans[2].why.startswith(("a: step 2; correct", "b: step 2; correct"))


def test_each_is_judged_by_its_own_entities_as_if_it_were_alone():
    right = {"a": 0.4, "b": 0.92}
    together = run(Harness(A, B), right, A, B)
    assert [together.events(one)[-1] for one in (A, B)] == ["rolled_back", "promoted"]
    for one in (A, B):
        alone = run(Harness(one), right, one)
        found, expected = together.running(one), alone.running(one)
        assert (found.state, found.means) == (expected.state, expected.means)
        assert together.events(one) == alone.events(one)
    assert not together.kept.entities


def test_an_entity_counts_for_each_experiment_by_itself():
    """Were an entity in both, which cannot be, neither would take the other's count for its own."""
    harness = Harness(A, B)
    batch = evidence(0, 100, 0, 0.8, A)
    list(harness.controller.evidence(batch, 7))
    before = harness.controller.log("a")
    list(harness.controller.evidence(replace(batch, experiment="b"), 7))
    assert harness.controller.log("a") == before
    counts = [harness.running(one).state.entities for one in (A, B)]
    assert counts == [len(batch.entities)] * 2


@pytest.mark.parametrize("right", [{"a": 0.4, "b": 0.92}, {"a": 0.92, "b": 0.92}])
def test_a_restore_anywhere_decides_the_same(right: dict[str, float]):
    whole = run(Harness(A, B), right, A, B)
    again = run(Harness(A, B), right, A, B, restart=True)
    assert again.said == whole.said
    assert [again.controller.log(name) for name in "ab"] == [whole.controller.log(name) for name in "ab"]


def test_what_cannot_run_beside_is_refused_by_name_and_changes_nothing():
    harness = Harness(A)
    said = len(harness.said)
    reasons = [
        (
            replace(B, population=(0.4, 0.6)),
            "'a' runs for 'wine' with the population [0.0, 0.5], and that of 'b'",
        ),
        (replace(B, population=msgspec.UNSET), "and that of 'b' is [0.0, 1.0]"),
        (replace(B, entity="session"), "'a' runs for 'wine' by 'customer', and 'b' draws by 'session'"),
        (replace(B, arms={"control": Arm("new"), "treatment": Arm("old")}), "b: its control is not what"),
        (replace(B, deadline_ms=7), "b: its control is not what entities in no experiment get now"),
        (replace(B, name="experiments"), "'experiments' is the name of plans"),
    ]
    for experiment, reason in reasons:
        assert reason in harness.start(experiment)
    assert harness.start(A) == "" and harness.running(A).plan_version == 1000
    assert len(harness.said) == said + len(reasons) and len(harness.plans) == 1
    alone = Harness(DECLARED)
    assert "'wine-v4' runs for 'wine' with the population [0.0, 1.0]" in alone.start(B)


def test_no_more_run_than_a_plan_holds():
    edges = [k / 9 for k in range(10)]
    many = [replace(A, name=f"e{k}", population=part) for k, part in enumerate(itertools.pairwise(edges))]
    harness = Harness(*many[:8])
    assert len(harness.plan.splits) == 8
    assert "8 experiments run for 'wine', and 8 are the most" in harness.start(many[8])
    assert harness.order(Order("stop"), "e3") == "stop by order"
    assert harness.start(many[8]) == "" and [one.name for one in harness.plan.splits][-1] == "e8"


def test_plans_that_would_not_fit_together_are_refused_at_the_start():
    """A plan that grew too long at a later step would end the controller."""
    long = Plan(policy=Fallback(value={"y": "v" * 16_000}), route=Only(("old",)))
    arms = {"control": Arm(plan=long), "treatment": Arm(plan=replace(long, deadline_ms=7))}
    harness = Harness(replace(A, arms=arms), replace(B, arms=arms))
    third = replace(A, name="c", population=(0.8, 1.0), arms=arms)
    assert "c: with it the plan of all that run may have 11" in harness.start(third)
    harness.order(Order("promote"), "a")
    now = {"control": arms["treatment"], "treatment": Arm("new")}
    assert harness.start(replace(third, arms=now)) == "" and len(harness.plan.splits) == 2


def test_a_promotion_is_for_all_in_no_experiment_and_others_go_on():
    harness = Harness(A, B)
    arms = harness.plan.splits[1].arms
    harness.order(Order("promote"), "a")
    assert [one.name for one in harness.plan.splits] == ["b"] and harness.plan.splits[0].arms == arms
    assert harness.plan.rest == NEW and harness.events(A)[-1] == "promoted"
    harness = harness.restored()
    later = replace(A, name="c")
    assert "c: its control is not what entities in no experiment get now" in harness.start(later)
    assert harness.start(replace(later, arms={"control": Arm("new"), "treatment": Arm("old")})) == ""
    assert [one.name for one in harness.plan.splits] == ["c", "b"] and harness.plan.rest == NEW
    harness.order(Order("rollback"), "b")  # it ends at what is for all by now, and not at its control
    assert harness.plan.rest == NEW and [one.name for one in harness.plan.splits] == ["c"]
    harness.order(Order("stop"), "c")
    assert harness.plan == NEW


def test_the_last_promotion_counts():
    harness = Harness(A, B)
    harness.order(Order("promote"), "a")
    harness.order(Order("promote"), "b")
    assert harness.plan == THIRD


def test_another_version_of_a_model_ends_those_that_are_about_it():
    harness = Harness(A, B)
    harness.said += list(harness.controller.replaced("wine", "third", 2, 8))
    assert harness.events(B)[-1] == "rolled_back" and [one.name for one in harness.plan.splits] == ["a"]
    harness = Harness(A, B)
    harness.said += list(harness.controller.replaced("wine", "old", 4, 8))
    assert harness.plan == OLD and {harness.events(one)[-1] for one in (A, B)} == {"rolled_back"}


def planned(harness: Harness, one: PlanOrdered, force: bool = False) -> list[str]:
    said = harness.controller.planned(published_plan(one.name, one.version, one.plan, force=force), 8)
    return [f"{event.kind} {event.experiment}" for event in said]


def test_its_own_plans_change_nothing_when_they_come_back_and_a_stranger_s_stops_all():
    harness = run(Harness(A, B), {"a": 0.8, "b": 0.8}, A, B)
    assert len(harness.plans) > 3
    assert [planned(harness, one) for one in harness.plans] == [[]] * len(harness.plans)
    bad = PlanOrdered("wine", "vote", 1, b"{", "")
    assert planned(harness, bad) == []  # the jobs refuse it, so it takes nobody's place
    assert planned(harness, replace_data(bad, plan=b"{}")) == ["stopped a", "stopped b"]


def test_without_its_state_it_goes_on_from_the_newest_plan():
    whole = Harness(A, B)
    for k in range(60):
        whole.tell(B, k * 100, 100, 0.8)
    whole.order(Order("promote"), "a")
    fresh = Harness(A, B)
    assert planned(fresh, whole.plans[-1]) == ["promoted a"]
    assert fresh.running(B).state.step == whole.running(B).state.step > 0
    fresh.order(Order("stop"), "b")
    assert fresh.plan == NEW and fresh.plans[-1].version == whole.plans[-1].version + 1
    both_ended = Harness(A, B)
    whole.order(Order("promote"), "b")
    assert planned(both_ended, whole.plans[-1]) == ["stopped a", "promoted b"]  # nobody knows of a


def test_an_end_without_a_promotion_is_known_without_state_too():
    whole = Harness(A, B)
    whole.order(Order("rollback"), "a")
    fresh = Harness(A, B)
    assert planned(fresh, whole.plans[-1]) == ["rolled_back a"] and fresh.running(B).runs


def test_a_try_counts_the_entities_of_the_population():
    found = tried(A, [({"customer": name.decode()}, 1000 * k) for k, name in enumerate(ENTITIES[:1000])])
    inside = in_population(A, ENTITIES[:1000])
    assert (found.entities, found.outside) == (inside.sum(), (~inside).sum())
    assert [step.treated for step in found.steps] == [
        treated(A, ENTITIES[:1000], step).sum() for step in range(3)
    ]
    assert plan_of_step(A, 0).rest == plan_of_arm(A, "control")


def test_a_stranger_s_plan_of_their_name_that_nobody_numbered_stops_all():
    """Jobs count it as the next one."""
    harness = Harness(A, B)
    assert planned(harness, PlanOrdered("wine", "experiments", 0, b"{}", "")) == ["stopped a", "stopped b"]
    harness.start(replace(A, name="c"))
    assert harness.plans[-1].version == 1003


def test_versions_that_leave_none_above_them_are_no_beginning():
    """A version that no message can hold would end the controller at a later step."""
    order = write_order(Order("start", A))
    harness = Harness()
    (refused,) = harness.controller.order("wine", "a", order, 2**64 - 1, 5)
    assert refused.kind == "refused" and "is the last to start with" in refused.reason
    harness = Harness(A, B)
    stranger = PlanOrdered("wine", "experiments", 2**64 - 1, harness.plans[-1].plan, "")
    assert planned(harness, stranger) == []  # jobs refuse it
    assert planned(harness, replace_data(stranger, version=2**63 - 1)) == ["stopped a", "stopped b"]
    assert "leaves none above it" in harness.running(A).reason
    assert "leaves too few above it" in harness.start(replace(A, name="c"))
    assert not harness.kept.entities and harness.restored().running(B).status == "stopped"


def stranger(version: int, plan: bytes = b"{}", name: str = "experiments") -> PlanOrdered:
    return PlanOrdered("wine", name, version, plan, "")


@pytest.mark.parametrize(("declared", "name"), [(A, "experiments"), (DECLARED, "wine-v4")])
def test_the_first_plan_is_above_a_stranger_s_of_its_name_that_was_there_before(declared, name):
    """Jobs keep the higher version: they would follow the stranger's while status says that it runs."""
    for restart in (False, True):
        harness = Harness()
        assert planned(harness, stranger(2**60, name=name)) == []
        assert planned(harness, stranger(2**61, b"{", name)) == []  # jobs refuse it
        assert planned(harness, stranger(2**61, name="vote")) == []
        harness.controller.plans.take(replace_data(published_plan(name, 2**61, b"{}"), data_type="tea"))
        harness = harness.restored() if restart else harness
        assert harness.start(declared) == "" and harness.plans[-1].version == 2**60 + 1
        assert planned(harness, harness.plans[-1]) == []
        harness.order(Order("stop"), declared.name)
        assert harness.plans[-1].version == 2**60 + 2


@pytest.mark.parametrize(
    ("declared", "name", "do"),
    [(A, "experiments", "leave out its population"), (DECLARED, "wine-v4", "give it another name")],
)
def test_a_start_is_refused_where_a_stranger_s_plan_of_its_name_leaves_no_versions(declared, name, do):
    harness = Harness()
    planned(harness, stranger(2**63 - 1, name=name))
    said = harness.start(declared)
    assert f"{declared.name}: version {2**63} of its plan leaves too few above it" in said
    assert f"a plan {name!r} of version {2**63 - 1} is on the model stream: {do}" in said
    assert not harness.plans
    assert harness.start(replace(declared, population=msgspec.UNSET, name="again")) == ""


def test_a_plan_whose_rule_no_job_can_read_neither_starts_nor_stops_any():
    """Jobs refuse it and go on with what was in force."""
    broken = Plan(route=ByRule((Rule("price >", ("new",)),), ("old",)))
    harness = Harness()
    said = harness.start(replace(A, arms={**A.arms, "treatment": Arm(plan=broken)}))
    assert said.startswith("a: ") and "price >" in said and not harness.plans
    assert harness.start(A) == ""
    assert planned(harness, stranger(2000, write_plan(broken))) == []
    assert harness.running(A).runs and harness.controller.plans.in_force("wine").version == 5


def test_whatever_a_rule_makes_of_its_reader_ends_no_controller(monkeypatch):
    def raises(*_, **__) -> None:
        raise RecursionError

    harness = Harness(B)
    monkeypatch.setattr("udfs.lifecycle.experiments.controlling.Splitting", raises)
    assert "a: its rules cannot be read: RecursionError" in harness.start(A)
    assert planned(harness, stranger(2000)) == [] and harness.running(B).runs


def test_a_plan_that_is_put_in_force_by_force_takes_their_place_whatever_its_version():
    harness = Harness(A, B)
    for one in harness.plans:
        planned(harness, one)
    assert planned(harness, stranger(0, harness.plans[-1].plan)) == []  # jobs have it already
    assert harness.running(A).plan_version == 1000
    assert planned(harness, stranger(7)) == [] and harness.running(A).runs
    assert planned(harness, stranger(7), force=True) == ["stopped a", "stopped b"]
    harness.start(replace(A, name="c"))
    assert harness.plans[-1].version == 1002
    alone = Harness(DECLARED)
    assert planned(alone, stranger(7, name="wine-v4"), force=True) == ["stopped wine-v4"]


def test_a_plan_of_another_name_that_jobs_refuse_as_too_old_takes_nobody_s_place():
    harness = Harness()
    assert planned(harness, stranger(9, name="vote")) == []
    harness.start(A)
    planned(harness, harness.plans[-1])
    for version in (8, 9):
        assert planned(harness, stranger(version, b'{"deadline_ms": 7}', "vote")) == []
    assert harness.running(A).runs
    assert planned(harness, stranger(10, name="vote")) == ["stopped a"]


@pytest.mark.parametrize("changed", ["shares", "arms", "step", "salt", "entity", "population"])
def test_a_plan_of_their_name_with_other_arms_stops_those_whose_arms_they_are(changed: str):
    harness = Harness(A, B)
    of_a, of_b = harness.plan.splits
    control, treatment = of_a.arms
    other = {
        "shares": {"arms": tuple(replace(arm, share=0.5) for arm in of_a.arms)},
        "arms": {"arms": (replace(control, plan=THIRD), treatment)},
        "step": {"step": 3},
        "salt": {"salt": "other"},
        "entity": {"entity": "session"},
        "population": {"population": (0.0, 0.4)},
    }[changed]
    plan = replace(
        harness.plan,
        experiments=(replace(of_a, **other), replace(of_b, entity=other.get("entity", "customer"))),
    )
    expected = ["stopped a", "stopped b"] if changed == "entity" else ["stopped a"]
    assert planned(harness, stranger(2000, write_plan(plan))) == expected
    assert "'experiments' version 2000 was put in force with other arms" in harness.running(A).reason
    if harness.running(B).runs:
        harness.order(Order("stop"), "b")
        assert harness.plans[-1].version == 2001 and harness.plan == OLD


def test_a_plan_that_is_withdrawn_stops_its_experiments():
    """Jobs follow the default then, and nobody is in an arm."""
    harness = Harness(A, B)
    said = list(harness.controller.replaced("wine", "experiments", None, 8))
    assert [(one.kind, one.experiment) for one in said] == [("stopped", "a"), ("stopped", "b")]
    assert said[0].reason.startswith("its plan 'experiments' is not in force, nor is another: ")
    harness.start(replace(A, name="c"))
    assert [one.name for one in harness.plan.splits] == ["c"] and harness.plans[-1].version == 1002
    alone = Harness(DECLARED)
    assert list(alone.controller.replaced("wine", "experiments", None, 8)) == []
    assert [one.kind for one in alone.controller.replaced("wine", "wine-v4", None, 8)] == ["stopped"]


def test_ends_that_come_at_once_are_told_in_the_same_order_after_a_restore():
    end = datetime(2026, 12, 24, tzinfo=UTC)
    harness = Harness(*(replace(one, end=end) for one in (A, B)))
    again, at = harness.restored(), int(end.timestamp() * 1000)
    expected = list(harness.controller.on_timer(at))
    assert list(again.controller.on_timer(at)) == expected and len(expected) == 4
