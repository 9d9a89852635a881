"""Plans that the controller has written and not yet read back: what runs is what jobs follow in the end."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.codecs.json_codec import JsonCodec
from schemas.lifecycle.experiments import ExperimentEvent
from schemas.plans.plan import Only, Plan, read_plan, write_plan
from tests.experiment_evidence import DECLARED, evidence
from udfs.ensemble.candidates import Candidates
from udfs.ensemble.routing.router import Router
from udfs.lifecycle.experiments.arm_plans import plan_of_step
from udfs.lifecycle.experiments.controlling import Controller, CountedInMemory, PlanOrdered
from udfs.lifecycle.experiments.declaration import Arm, Experiment
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.lifecycle.experiments.running import Running, read_running
from udfs.models.descriptor import DECIDE, EXPERIMENT, WITHDRAW, build, parse
from udfs.models.quotas import Quotas

QUICK = replace(DECLARED, step_entities=1, guardrails=())
A = replace(QUICK, name="a", population=(0.0, 0.5))
B = replace(
    QUICK, name="b", population=(0.5, 0.8), arms={"control": Arm("old", 3), "treatment": Arm("third", 1)}
)
OWN = "by the controller"


@dataclass
class Kept:
    """What a checkpoint holds. `read`: messages of the model stream."""

    experiments: dict[str, bytes] = field(default_factory=dict)
    plans: dict[str, bytes] = field(default_factory=dict)
    entities: set[tuple[str, str]] = field(default_factory=set)
    read: int = 0


class Stream:
    """A model stream with the controller that reads and writes it, in the way of the job.

    `once`: what it writes is in a transaction, and appears at its checkpoint; else at once, and again after a
    restart. `jump`: the setting `version_jump` of the jobs and the controller.
    """

    def __init__(self, jump: int | None = None, once: bool = True) -> None:
        self.messages: list[bytes] = []
        self.events: list[ExperimentEvent] = []
        self.unread: list[bytes] = []
        self.asked = 0
        self._jump, self._once = jump, once
        self._saved = Kept()
        self.restart()

    def restart(self) -> None:
        self.kept, self.unread = copy.deepcopy(self._saved), []
        self._counted = CountedInMemory()
        self._counted.entities = self.kept.entities
        self.controller = Controller(self._counted, self._jump)
        for log in reversed(self.kept.experiments.values()):
            self.controller.restore(log)
        for data_type, log in self.kept.plans.items():
            self.controller.plans.restore(data_type, log)

    def checkpoint(self) -> None:
        self.kept.entities = self._counted.entities
        self._saved = copy.deepcopy(self.kept)
        self.messages += self.unread
        self.unread = []

    def publish(self, name: str, version: int = 0, plan: bytes = b"{}", *, force: bool = False) -> None:
        """Somebody else does."""
        self._put(name=name, version=version, operation=DECIDE, plan=plan.decode(), force=force)

    def withdraw(self, name: str) -> None:
        self._put(name=name, operation=WITHDRAW)

    def order(self, order: Order, name: str) -> None:
        self._put(name=name, version=5, operation=EXPERIMENT, experiment=write_order(order))

    def start(self, *experiments: Experiment) -> None:
        for one in experiments:
            self.order(Order("start", one), one.name)

    def read(self, count: int = 1) -> None:
        """The controller reads so many messages, where they are there."""
        for message in self.messages[self.kept.read : self.kept.read + count]:
            self._act(self.controller.published(parse(message), 8))
            self.kept.read += 1

    def tell(self, of: Experiment, right: float) -> None:
        """Evidence about new entities comes."""
        if of.name in self.kept.experiments and self.running(of).runs:
            self.asked += 100
            batch = evidence(self.asked, 100, self.running(of).state.step, right, of)
            self._act(self.controller.evidence(batch, 8))

    def settle(self) -> Stream:
        """Until both have read everything."""
        while self.unread or self.kept.read < len(self.messages):
            self.checkpoint()
            self.read(len(self.messages))
        return self

    def running(self, of: Experiment) -> Running:
        return read_running(self.kept.experiments[of.name])

    @property
    def every(self) -> list[Running]:
        return [read_running(log) for log in self.kept.experiments.values()]

    def own(self, name: str) -> int:
        """The version of the controller's newest plan of the name; 5 where there is none."""
        found = [parse(one) for one in (*self.messages, *self.unread)]
        return max((one.version for one in found if one.description == OWN and one.name == name), default=5)

    def routed(self) -> Candidates:
        """What the router follows once it has read the stream, restarted after each message."""
        state = None
        for message in self.messages:
            quotas = Quotas(version_jump=self._jump)
            router = Router(JsonCodec(), raw_json=True, max_batch=100, subtask=0, quotas=quotas)
            router.restore("wine", state)
            router.publish(message, parse(message))
            state = router.log("wine")
        return Candidates.decode(state)

    def _put(self, **what) -> None:
        self.messages.append(build(data_type="wine", **what))

    def _act(self, said) -> None:
        for one in said:
            if isinstance(one, ExperimentEvent):
                self.events.append(one)
                continue
            assert isinstance(one, PlanOrdered)
            plan = one.plan.decode()
            more = {"version": one.version, "operation": DECIDE, "plan": plan, "description": OWN}
            into = self.unread if self._once else self.messages
            into.append(build(data_type="wine", name=one.name, **more))
        self.kept.experiments |= {name: self.controller.log(name) for name in self.controller.changed()}
        plans = self.controller.plans
        self.kept.plans |= {data_type: plans.log(data_type) for data_type in plans.changed()}


NAMES = st.sampled_from(["experiments", "wine-v4", "vote"])
PLANS = {
    "usual": b"{}",
    "control": write_plan(Plan(route=Only(("old",)))),
    "same": write_plan(plan_of_step(A, 0)),
    "next": write_plan(plan_of_step(A, 1)),
    "alone": write_plan(plan_of_step(QUICK, 1)),
    "other": write_plan(plan_of_step(replace(A, share=0.4), 0)),
}
STARTED = [A, B, QUICK, replace(A, name="c"), replace(QUICK, name="d")]
DONE = st.one_of(
    st.tuples(st.just("start"), st.sampled_from(STARTED)),
    st.tuples(st.just("plan"), NAMES, st.integers(-1, 3), st.sampled_from(list(PLANS)), st.booleans()),
    st.tuples(st.just("plan"), NAMES, st.sampled_from([None, 2**40]), st.just("usual"), st.just(False)),
    st.tuples(st.just("copy"), st.booleans()),
    st.tuples(st.just("withdraw"), NAMES),
    st.tuples(st.sampled_from(["stop", "promote"]), st.sampled_from([one.name for one in STARTED])),
    st.tuples(st.just("tell"), st.sampled_from(STARTED), st.sampled_from([0.8, 0.0])),
    st.tuples(st.just("read"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["checkpoint", "restart"])),
)


def do(stream: Stream, kind: str, *of) -> None:
    if kind == "plan":
        name, above, plan, force = of
        stream.publish(
            name, 0 if above is None else max(stream.own(name) + above, 0), PLANS[plan], force=force
        )
    elif kind == "copy":
        own = [parse(one) for one in (*stream.messages, *stream.unread) if parse(one).description == OWN]
        for one in own[-1:]:
            stream.publish(one.name, one.version, one.plan.encode(), force=of[0])
    elif kind in ("stop", "promote"):
        stream.order(Order(kind), of[0])
    else:
        getattr(stream, kind)(*of)


@settings(deadline=None, max_examples=300)
@given(st.lists(DONE, max_size=20), st.sampled_from([None, 1, 3]), st.booleans())
def test_what_runs_by_the_controller_is_what_the_router_follows(done, jump, once):
    """Whatever others publish, withdraw or force while plans are on their way, and whoever is restarted."""
    stream = Stream(jump, once)
    for one in done:
        do(stream, *one)
    routed = stream.settle().routed()
    splits = read_plan(routed.plan_text()).splits
    running = [one for one in stream.every if one.runs]
    for one in running:
        assert routed.plan is not None and one.split() in splits
        assert routed.plan.name == one.plan_name and routed.plan.version >= one.plan_version
    forced = any(kind in ("plan", "copy") and of[-1] for kind, *of in done)
    if once and not forced and routed.plan is not None and routed.plan.publication().description == OWN:
        assert {split.name for split in splits} == {one.experiment.name for one in running}


def in_flight(*experiments: Experiment, jump: int | None = None) -> Stream:
    """The controller has started them, and their plan is not on the stream yet."""
    stream = Stream(jump)
    stream.start(*experiments)
    stream.read(len(experiments))
    assert stream.unread
    return stream


def stands(stream: Stream, of: Experiment) -> tuple[str, str]:
    """Its status and the name of the plan that the router follows, once both have read everything."""
    plan = stream.settle().routed().plan
    return stream.running(of).status, plan.name if plan else ""


def reason(stream: Stream, of: Experiment) -> str:
    return stream.running(of).reason


@pytest.mark.parametrize("declared", [A, QUICK])
def test_a_stranger_s_plan_of_the_version_that_was_just_written_stops_it(declared: Experiment):
    stream = in_flight(declared)
    name = stream.running(declared).plan_name
    stream.publish(name, stream.own(name))
    stream.read()
    assert stream.running(declared).runs  # were it withdrawn, jobs would follow what is to come
    stream.checkpoint()
    stream.restart()
    assert stands(stream, declared) == ("stopped", name)
    assert reason(stream, declared) == "plan version 5 had ended it"
    assert not stream.kept.entities


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_an_end_whose_plan_jobs_refuse_is_told_to_be_none(action: str):
    stream = in_flight(QUICK)
    stream.settle().order(Order(action), QUICK.name)
    stream.read()
    stream.publish(QUICK.name, stream.own(QUICK.name))
    assert stands(stream, QUICK) == ("stopped", QUICK.name)
    assert [event.kind for event in stream.events][-1] == "stopped"
    assert "version 6 was put in force in its place" in reason(stream, QUICK)


def test_an_end_whose_plan_is_refused_is_none_either_where_nothing_is_in_force():
    stream = in_flight(QUICK)
    stream.settle().order(Order("promote"), QUICK.name)
    stream.read()
    stream.publish(QUICK.name, stream.own(QUICK.name))
    stream.publish("vote", 1)
    stream.withdraw("vote")
    assert stands(stream, QUICK) == ("stopped", "")


def test_a_plan_of_its_name_with_its_arms_goes_on_with_it():
    stream = in_flight(A)
    stream.settle().publish("experiments", 9, PLANS["next"])
    assert stands(stream, A) == ("running", "experiments")
    assert (stream.running(A).plan_version, stream.running(A).state.step) == (9, 1)


def test_an_end_stays_where_somebody_put_the_same_in_force_above_it():
    stream = in_flight(QUICK)
    stream.settle().order(Order("stop"), QUICK.name)
    stream.read()
    stream.publish(QUICK.name, 9, PLANS["control"])
    assert stands(stream, QUICK) == ("stopped", QUICK.name)
    assert reason(stream, QUICK) == "stop by order"


def test_an_end_whose_plan_was_in_force_stays_whatever_comes_after_it():
    stream = in_flight(QUICK)
    stream.settle().order(Order("promote"), QUICK.name)
    stream.settle().publish("vote", 1)
    assert stands(stream, QUICK) == ("promoted", "vote")


def test_a_stranger_s_plan_of_another_name_and_a_withdrawal_stop_none_whose_plan_comes_after_them():
    stream = in_flight(A, B)
    stream.publish("vote", 1)
    assert stands(stream, A) == stands(stream, B) == ("running", "experiments")
    stream.tell(A, 0.8)
    assert stream.unread
    stream.withdraw("experiments")
    assert stands(stream, A) == stands(stream, B) == ("running", "experiments")
    stream.publish("vote", 2)
    assert stands(stream, A) == stands(stream, B) == ("stopped", "vote")


def test_a_stranger_s_plan_of_exactly_the_withdrawn_version_is_not_its_own():
    stream = in_flight(A)
    stream.settle().tell(A, 0.8)
    stream.checkpoint()
    stream.withdraw("experiments")
    stream.publish("experiments", stream.own("experiments"))
    assert stands(stream, A) == ("stopped", "experiments")
    assert "is not in force, nor is another: what was has been withdrawn" in reason(stream, A)
    later = replace(A, name="c")
    stream.start(later)
    assert stands(stream, later) == ("running", "experiments")
    assert stream.running(later).plan_version == 7


def test_a_plan_whose_version_somebody_took_and_withdrew_is_in_force():
    stream = in_flight(A)
    stream.publish("experiments", stream.own("experiments"))
    stream.withdraw("experiments")
    stream.read(2)
    assert stands(stream, A) == ("running", "experiments")


@pytest.mark.parametrize("version", [6, 0])
def test_a_plan_above_one_that_is_still_to_come_stops_it_at_once(version: int):
    """Jobs refuse what comes below it. A topic that was compacted meanwhile may have lost that."""
    stream = in_flight(A)
    if not version:
        stream.publish("experiments", 5)
    stream.publish("experiments", version, PLANS["other"])
    stream.read(2)
    assert "'experiments' version 6 was put in force with other arms" in reason(stream, A)
    assert stands(stream, A) == ("stopped", "experiments")


def test_of_two_names_on_their_way_the_one_that_is_in_force_in_the_end_counts():
    stream = in_flight(QUICK)
    stream.settle().order(Order("stop"), QUICK.name)
    stream.start(A)
    stream.read(2)
    assert [parse(one).name for one in stream.unread] == ["wine-v4", "experiments"]
    stream.publish("experiments", 9)
    assert stands(stream, A) == ("stopped", "wine-v4")
    assert "plan 'wine-v4' version 6 was put in force in its place" in reason(stream, A)


def test_a_copy_of_its_plan_is_its_plan_and_what_comes_behind_the_copy_takes_its_place():
    stream = in_flight(A)
    do(stream, "copy", False)
    assert stands(stream, A) == ("running", "experiments")
    stream = in_flight(A)
    do(stream, "copy", False)
    stream.publish("vote", 1)
    assert stands(stream, A) == ("stopped", "vote")


def test_what_a_publisher_says_to_be_the_digest_makes_no_plan_its_own():
    """Jobs go by it: they take the controller's for what they have already."""
    stream = in_flight(A)
    own = parse(stream.unread[0])
    lie = {"name": own.name, "version": own.version, "operation": DECIDE, "sha256": own.sha256}
    stream.messages.append(build(data_type="wine", plan="{}", **lie))
    assert stands(stream, A) == ("stopped", "experiments")


def test_versions_rise_by_no_more_than_jobs_take():
    stream = Stream(jump=3)
    stream.publish("experiments", 1)
    stream.start(A)
    assert stands(stream, A) == ("running", "experiments") and stream.own("experiments") == 4
    stream.publish("vote", 1)
    stream.publish("vote", 5)  # refused
    stream.start(replace(A, name="c"))
    assert stands(stream, replace(A, name="c"))[0] == "running"
    assert stream.own("experiments") == 5


def test_a_plan_that_is_too_far_above_changes_nothing():
    stream = in_flight(A, jump=3)
    stream.settle().publish("experiments", 9)
    assert stands(stream, A) == ("running", "experiments")
    stream.publish("experiments", 8)
    assert stands(stream, A) == ("stopped", "experiments")


def test_a_plan_that_jobs_refuse_as_too_far_above_what_came_before_it_ends_its_experiment():
    stream = in_flight(A, jump=3)
    stream.publish("experiments", 1)
    assert stands(stream, A) == ("stopped", "experiments")
    later = replace(A, name="c")
    stream.start(later)
    assert stands(stream, later) == ("running", "experiments") and stream.running(later).plan_version == 4
