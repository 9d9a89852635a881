"""The controller: orders and evidence in, plans out; restored, it decides the same, and nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from schemas.errors import ExperimentError
from schemas.lifecycle.experiments import ExperimentEvent, read_event, write_event
from schemas.lifecycle.quality import EvidenceBatch
from schemas.plans.plan import Only, Plan, Split, read_plan, write_plan
from tests.experiment_evidence import DECLARED, evidence, published_plan
from udfs.lifecycle.experiments.controlling import Controller, CountedInMemory, PlanOrdered
from udfs.lifecycle.experiments.declaration import Arm, Metric
from udfs.lifecycle.experiments.orders import Order, read_order, write_order

START = write_order(Order("start", DECLARED))
CONTROL, TREATMENT = (Plan(route=Only((name,))) for name in ("old", "new"))


class Harness:
    """A controller with its entities; `said` is all that it has said."""

    def __init__(self, start: str = START) -> None:
        self.kept, self.said = CountedInMemory(), []
        self.controller = Controller(self.kept)
        self.order(start)

    def order(self, text: str, name: str = "wine-v4", data_type: str = "wine", version: int = 1000) -> str:
        said = list(self.controller.order(data_type, name, text, version, 5))
        self.said += said
        return next((one.reason for one in said if isinstance(one, ExperimentEvent)), "")

    def tell(self, batch: EvidenceBatch) -> list[str]:
        said = list(self.controller.evidence(batch, 7))
        self.said += said
        return [one.kind for one in said if isinstance(one, ExperimentEvent)]

    @property
    def plans(self) -> list[tuple[int, Plan]]:
        return [(one.version, read_plan(one.plan)) for one in self.said if isinstance(one, PlanOrdered)]

    @property
    def events(self) -> list[ExperimentEvent]:
        return [one for one in self.said if isinstance(one, ExperimentEvent)]

    def restored(self) -> Harness:
        again = Harness.__new__(Harness)
        again.kept, again.said = CountedInMemory(), list(self.said)
        again.controller = Controller(again.kept)
        again.kept.entities = set(self.kept.entities)
        again.controller.restore(self.controller.log("wine-v4"))
        return again


def run(harness: Harness, treated_right: float, batches: int = 200, size: int = 50) -> Harness:
    for k in range(batches):
        step = harness.plans[-1][1].experiment
        if not isinstance(step, Split):
            break
        harness.tell(evidence(k * size, size, step.step, treated_right))
    return harness


def test_a_start_puts_the_first_step_in_force_and_once():
    harness = Harness()
    ((version, plan),) = harness.plans
    assert version == 1000 and [arm.share for arm in plan.experiment.arms] == [0.95, 0.05]
    assert [event.kind for event in harness.events] == ["started"]
    assert harness.order(START) == "" and len(harness.said) == 2
    other = msgspec.structs.replace(DECLARED, name="other")
    assert "'wine-v4' runs for 'wine'" in harness.order(write_order(Order("start", other)), "other")
    changed = msgspec.structs.replace(DECLARED, salt="x")
    assert "another name" in harness.order(write_order(Order("start", changed)))
    assert "was sent for 'tea'" in harness.order(START, data_type="tea")
    spaces = write_order(Order("start", msgspec.structs.replace(DECLARED, name=" other ")))
    assert "' other ' was sent under the name 'other'" in harness.order(spaces, "other")
    assert len(harness.plans) == 1


def test_a_worse_treatment_is_rolled_back_with_its_evidence():
    harness = run(Harness(), 0.4)
    version, plan = harness.plans[-1]
    assert plan == CONTROL
    last = harness.events[-1]
    assert (last.kind, last.metric, last.plan_version, last.share) == ("rolled_back", "correct", version, 0.0)
    assert "for harm" in last.evidence and last.harm >= last.harm_at > 0
    assert last.arms["treatment"].mean < 0.6 < last.arms["control"].mean
    assert last.arms["treatment"].entities + last.arms["control"].entities == last.entities
    assert [one.why for one in harness.said if isinstance(one, PlanOrdered)][-1].startswith(
        "rolled back; correct"
    )
    assert not harness.kept.entities and harness.tell(evidence(0, 50, 0, 0.4)) == []


def test_a_better_treatment_climbs_the_ramp_and_is_promoted():
    harness = run(Harness(), 0.92)
    steps = [plan.experiment.step for _, plan in harness.plans[:-1]]
    assert steps == [0, 1, 2] and harness.plans[-1][1] == TREATMENT
    assert [event.kind for event in harness.events] == ["started", "step", "step", "promoted"]
    assert [version for version, _ in harness.plans] == [1000, 1001, 1002, 1003]


@pytest.mark.parametrize("right", [0.4, 0.92])
def test_a_restore_anywhere_decides_the_same_and_nothing_twice(right):
    whole = run(Harness(), right)
    harness = Harness()
    for k in range(200):
        step = harness.plans[-1][1].experiment
        if not isinstance(step, Split):
            break
        harness = harness.restored()
        harness.tell(evidence(k * 50, 50, step.step, right))
    assert harness.said == whole.said
    again = harness.restored()
    assert again.tell(evidence(9000, 50, 2, right)) == [] and again.said == whole.said


def test_an_entity_counts_once_and_others_are_passed_over():
    harness = Harness()
    batch = evidence(0, 40, 0, 0.8)
    assert harness.tell(batch) == []
    before = harness.controller.log("wine-v4")
    harness.tell(batch)
    for odd in (
        {"arms": ("other",) * 40, "entities": tuple(f"x{k}" for k in range(40))},
        {"steps": (3,) * 40, "entities": tuple(f"y{k}" for k in range(40))},
        {"entities": ("",) * 40},
        {"data_type": "tea"},
        {"experiment": "none"},
    ):
        harness.tell(msgspec.structs.replace(batch, **odd))
    assert harness.controller.log("wine-v4") == before


def test_evidence_of_an_earlier_step_may_come_late():
    harness = Harness()
    for k in range(60):
        harness.tell(evidence(k * 50, 50, 0, 0.8))
    assert [event.kind for event in harness.events] == ["started", "step"]
    for k in range(60, 100):
        harness.tell(evidence(k * 50, 50, k % 2, 0.8))
    assert "shares" not in [event.metric for event in harness.events]
    (told,) = harness.controller.on_timer(9)
    assert (told.kind, told.entities) == ("progress", 5000)
    assert list(harness.controller.on_timer(9)) == []


def test_values_that_do_not_fit_count_as_their_bound_or_not_at_all_and_are_told():
    harness = Harness()
    batch = evidence(0, 4, 0, 0.8)
    values = {"correct": (2.0, None, 1.0, 1.0), "latency": (-1.0, float("inf"), 1.0, None)}
    harness.tell(msgspec.structs.replace(batch, values=values))
    (told,) = harness.controller.on_timer(9)
    assert "3 values that do not fit" in told.evidence
    assert sum(arm.entities for arm in told.arms.values()) == 3
    assert sum(arm.entities * arm.mean for arm in told.arms.values()) == pytest.approx(3.0)
    harness.tell(msgspec.structs.replace(evidence(50, 4, 0, 0.8), values={}))  # without any metric
    assert next(iter(harness.controller.on_timer(9))).entities == 8


@pytest.mark.parametrize(
    ("action", "kind", "plan"),
    [("stop", "stopped", CONTROL), ("rollback", "rolled_back", CONTROL), ("promote", "promoted", TREATMENT)],
)
def test_people_may_end_it(action, kind, plan):
    harness = Harness()
    harness.tell(evidence(0, 50, 0, 0.8))
    assert harness.order(write_order(Order(action, reason="holidays"))) == "holidays"
    assert not harness.kept.entities  # what ended by order kept them for good
    assert harness.events[-1].kind == kind and harness.plans[-1] == (1001, plan)
    assert "has ended" in harness.order(write_order(Order(action)))
    assert "no experiment 'x'" in harness.order(write_order(Order(action)), "x")
    assert "not an order" in harness.order("{") and len(harness.plans) == 2


def test_another_version_of_an_arm_s_model_rolls_back():
    harness = Harness()
    replaced = harness.controller.replaced
    assert list(replaced("wine", "new", 4, 8)) == list(replaced("tea", "new", 5, 8)) == []
    plan, event = replaced("wine", "new", 5, 8)
    assert (event.kind, event.metric) == (
        "rolled_back",
        "version",
    ) and "version 5 was published" in event.evidence
    assert read_plan(plan.plan) == CONTROL
    for model, version, was in (("", None, "withdrawn"), ("old", None, "withdrawn"), ("new", 0, "'?'")):
        _, event = Harness().controller.replaced("wine", model, version, 8)
        assert event.kind == "rolled_back" and was.strip("'") in event.evidence


def test_a_model_of_any_version_that_is_gone_rolls_back():
    arms = {"control": Arm("old"), "treatment": Arm("new")}
    for model in ("old", "new", ""):
        harness = Harness(write_order(Order("start", msgspec.structs.replace(DECLARED, arms=arms))))
        assert list(harness.controller.replaced("wine", "new", 5, 8)) == []
        assert list(harness.controller.replaced("wine", "third", None, 8)) == []
        plan, event = harness.controller.replaced("wine", model, None, 8)
        assert (event.kind, event.metric) == ("rolled_back", "version") and read_plan(plan.plan) == CONTROL
        arm, name = ("treatment", "new") if model == "new" else ("control", "old")
        assert event.evidence == f"arm {arm!r} is {name!r}, and it was withdrawn"


def test_the_ramp_does_not_rise_on_entities_of_which_nothing_is_known():
    """As where the treatment fails each record, or outcomes do not come."""
    silent, told = Harness(), Harness()
    for k in range(20):
        batch = evidence(k * 50, 50, 0, 0.8)
        silent.tell(msgspec.structs.replace(batch, values={"latency": batch.values["latency"]}))
        told.tell(batch)
    assert [event.kind for event in silent.events] == ["started"]
    assert "step" in [event.kind for event in told.events]


def test_the_end_rolls_back():
    end = datetime(2026, 12, 24, tzinfo=UTC)
    harness = Harness(write_order(Order("start", msgspec.structs.replace(DECLARED, end=end))))
    at = int(end.timestamp() * 1000)
    assert [one.kind for one in harness.controller.on_timer(at - 1)] == ["progress"]
    plan, event = harness.controller.on_timer(at)
    assert (event.kind, event.metric) == ("rolled_back", "end") and read_plan(plan.plan) == CONTROL


def test_a_plan_of_somebody_else_stops_it_and_stays():
    harness = Harness()
    ((version, plan),) = harness.plans
    assert list(harness.controller.planned(published_plan("wine-v4", version, write_plan(plan)), 8)) == []
    (event,) = harness.controller.planned(published_plan("vote", 1, b"{}"), 8)
    assert event.kind == "stopped" and "'vote'" in event.reason
    assert list(harness.controller.planned(published_plan("vote", 2, b"{}"), 8)) == []


def test_without_its_state_it_goes_on_from_the_plans_that_are_there():
    whole = run(Harness(), 0.92)
    fresh = Harness()
    for version, plan in whole.plans[:-1]:
        said = fresh.controller.planned(published_plan("wine-v4", version, write_plan(plan)), 8)
        assert list(said) == []
    fresh.order(write_order(Order("stop")))
    assert fresh.plans[-1] == (1003, CONTROL)
    ended = Harness()
    version, plan = whole.plans[-1]
    (event,) = ended.controller.planned(published_plan("wine-v4", version, write_plan(plan)), 8)
    assert event.kind == "promoted"


@pytest.mark.parametrize("name", ["failed", "late", "latency", "log_loss", "squared_error", "absolute_error"])
def test_an_order_by_which_more_of_a_loss_is_better_is_refused(name):
    for changes in ({"primary": Metric(name), "guardrails": ()}, {"guardrails": (Metric(name),)}):
        order = write_order(Order("start", msgspec.structs.replace(DECLARED, **changes)))
        assert f"{name!r} is a loss" in Harness(order).events[-1].reason
    lower = msgspec.structs.replace(DECLARED, guardrails=(Metric(name, better="lower"),))
    assert Harness(write_order(Order("start", lower))).events[-1].kind == "started"


def test_an_alias_that_a_promotion_could_not_move_is_refused_at_the_start():
    """It was told when the treatment was promoted."""
    arms = {"control": Arm("old", 3), "treatment": Arm("new")}
    wanted = msgspec.structs.replace(DECLARED, arms=arms, alias="champion")
    reason = Harness(write_order(Order("start", wanted))).events[-1].reason
    assert "'champion' stands for a version, and arm 'treatment' names none: say its version" in reason
    arms = {"control": Arm("old", 3), "treatment": Arm(plan=Plan(route=Only(("new",))))}
    wanted = msgspec.structs.replace(DECLARED, arms=arms, alias="champion")
    assert "names none: leave out" in Harness(write_order(Order("start", wanted))).events[-1].reason
    both = {"control": Arm("old"), "treatment": Arm("new", 4)}
    known = msgspec.structs.replace(DECLARED, arms=both, alias="champion")
    assert Harness(write_order(Order("start", known))).events[-1].kind == "started"


def test_a_metric_that_nothing_measures_is_named():
    guards = (*DECLARED.guardrails, Metric("latncy", "quantile", "lower"), Metric("sales", "mean"))
    harness = Harness(write_order(Order("start", msgspec.structs.replace(DECLARED, guardrails=guards))))
    assert harness.events[-1].evidence == ""
    harness.tell(evidence(0, 50, 0, 0.8))
    harness.said += harness.controller.on_timer(8)
    assert harness.events[-1].evidence.endswith("; no entity had a value of latncy, sales")
    silent = Harness()
    silent.tell(msgspec.structs.replace(evidence(0, 50, 0, 0.8), values={}))
    silent.said += silent.controller.on_timer(8)
    assert silent.events[-1].evidence.endswith("; no entity had a value of correct, latency")


def test_orders_and_events_read_back_and_others_are_refused():
    order = Order("start", DECLARED)
    assert read_order(write_order(order)) == order
    for bad in ("", "{}", '{"action":"start"}', '{"action":"stop","experiment":{}}', '{"action":"x"}'):
        with pytest.raises(ExperimentError):
            read_order(bad)
    event = Harness().events[0]
    assert read_event(write_event(event)) == event
    with pytest.raises(ExperimentError, match="format 2"):
        read_event(write_event(event).replace(b'"format":1', b'"format":2'))
    with pytest.raises(ExperimentError, match="no event"):
        read_event(b"[]")


def order_to_start(**changes) -> str:
    order = msgspec.json.decode(START)
    order["experiment"] |= {"name": "other", "data_type": "other"} | changes
    return msgspec.json.encode(order).decode()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"alpha": 5e-324}, "alpha must be"),
        ({"most_entities": 2**64}, "most_entities must be from 1 to"),
        ({"end": "9999-12-31T23:59:59-23:59"}, "the years 1971 to 9998"),
        ({"guardrails": [{"name": f"g{k}"} for k in range(40)]}, "41 metrics are named"),
        ({"guardrails": [{"name": "g", "q" * 100_000: 1}]}, "unknown field"),
        ({"plan": {"policy": {"policy": "fallback", "value": {"y": 2**64}}}}, "no result can hold"),
        ({"plan": {"policy": {"policy": "fallback", "value": {"y": "v" * 40_000}}}}, "35,000 are the most"),
    ],
)
def test_an_order_that_could_not_be_written_down_is_refused(changes: dict, says: str):
    """Whatever it raises else ends the controller, and all experiments with it."""
    if "plan" in changes:  # of an arm that is not compared too
        changes = {"arms": {"control": {"model": "a"}, "treatment": {"model": "b"}, "third": changes}}
    harness = Harness(order_to_start(**changes))
    (refused,) = harness.events
    assert refused.kind == "refused" and says in refused.reason
    assert len(write_event(refused)) < 30_000 and not harness.controller.changed()


def test_a_reason_that_no_message_could_hold_is_refused():
    harness = Harness()
    assert "100,000 characters" in harness.order(write_order(Order("stop", reason="r" * 100_000)))
    assert harness.events[-1].kind == "refused"
    assert harness.order(write_order(Order("stop"))) == "stop by order"


def test_losses_beyond_their_bound_do_not_make_an_arm_the_better_one():
    """They were left out: an arm that is mostly a little better, and sometimes wrong by far, was promoted."""
    primary = {"name": "log_loss", "better": "lower"}
    harness = Harness(order_to_start(primary=primary, guardrails=[], name="wine-v4", data_type="wine"))
    for k in range(100):
        step = harness.plans[-1][1].experiment
        if not isinstance(step, Split):
            break
        batch = evidence(k * 50, 50, step.step, 0.8)
        of = {"control": (0.3, 0.3), "treatment": (0.2, 9.0)}
        losses = tuple(of[arm][n % 2] for n, arm in enumerate(batch.arms))
        harness.tell(msgspec.structs.replace(batch, values={"log_loss": losses}))
    last = harness.events[-1]
    assert last.kind == "rolled_back" and "values that do not fit" in last.evidence


def test_values_whose_squares_are_infinite_do_not_fit_a_mean():
    """One record would make a mean of them that is no number, for as long as the experiment runs."""
    wanted = {"name": "revenue", "kind": "mean"}
    harness = Harness(order_to_start(primary=wanted, guardrails=[], name="wine-v4", data_type="wine"))
    batch = evidence(0, 50, 0, 0.8)
    values = (1.0, 1e308, -1e308, 2.0, None) * 10
    harness.tell(msgspec.structs.replace(batch, values={"revenue": values}))
    (told,) = harness.controller.on_timer(9)
    assert "20 values that do not fit" in told.evidence
    assert 1 <= read_event(write_event(told)).arms["control"].mean <= 2


def test_a_message_that_is_nested_without_end_is_no_event():
    with pytest.raises(ExperimentError, match="no event of an experiment"):
        read_event(b'{"more":' + b"[" * 100_000)
