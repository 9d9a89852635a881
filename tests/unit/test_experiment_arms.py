"""Arms in the stream: each record goes the way of its entity's arm, and its result says so."""

from __future__ import annotations

import msgspec
import numpy as np
import orjson
import pytest

from schemas.codecs.json_codec import JsonCodec
from schemas.errors import ExperimentError, PlanError
from schemas.plans.plan import First, Majority, Only, Plan, read_plan, write_plan
from schemas.results.answers import InExperiment
from schemas.results.decided import DecidedStamp, Part, write_decided
from schemas.results.results import Identity, read_result
from tests.experiment_evidence import OF_USERS
from tests.serving_fakes import batch_of
from udfs.ensemble.routing.router import Router
from udfs.ensemble.routing.splitting import Splitting
from udfs.lifecycle.experiments.arm_plans import plan_of_arm, plan_of_step
from udfs.lifecycle.experiments.assignment import treated
from udfs.lifecycle.experiments.declaration import Arm, read_experiment
from udfs.models.descriptor import DECIDE, EXPERIMENT, build, parse

RECORDS = [b'{"user":"u%d"}' % k for k in range(400)]


def router() -> Router:
    made = Router(JsonCodec(), raw_json=True, max_batch=1024, subtask=0, now=lambda: 1000)
    made.restore("t", None)
    for name in ("old", "new"):
        tell(made, name=name, model_type="PMML", data=name.encode())
    return made


def tell(to: Router, **more) -> list[str]:
    descriptor = build(data_type="t", **more)
    return [event.kind.value for event in to.publish(descriptor, parse(descriptor))]


def decide_by(to: Router, plan: Plan, version: int) -> None:
    text = write_plan(plan).decode()
    assert tell(to, operation=DECIDE, name="wine-v4", version=version, plan=text) == ["decides"]


def arms_of(to: Router, records: list[bytes]) -> dict[int, tuple[str, tuple[str, ...]]]:
    """Offset -> arm, and who is asked."""
    found = {}
    for one in to.route(batch_of(records)):
        part = one.context.experiment
        asked = tuple(a.candidate for a in one.context.asked)
        arm = part.arm if isinstance(part, InExperiment) else ""
        assert all(a.rows is None for a in one.context.asked)
        found.update(dict.fromkeys(one.batch.offsets, (arm, asked)))
        assert [one.batch.payloads[0]] == [records[one.batch.offsets[0]]]
    return found


@pytest.mark.parametrize("step", [0, 1, 2])
def test_the_arm_is_that_of_the_declaration_and_only_its_model_is_asked(step):
    to = router()
    decide_by(to, plan_of_step(OF_USERS, step), 1 + step)
    found = arms_of(to, RECORDS)
    expected = treated(OF_USERS, [b"u%d" % k for k in range(400)], step)
    assert 0 < expected.sum() < 400
    for row, in_treatment in enumerate(expected.tolist()):
        assert found[row] == (("treatment", ("new",)) if in_treatment else ("control", ("old",)))


def test_what_has_no_entity_is_in_no_arm_and_gets_the_first_arm_s_plan():
    to = router()
    decide_by(to, plan_of_step(OF_USERS, 2), 1)
    deep = b'{"user":%b}' % (b"[" * 300 + b"]" * 300)  # it can be read, and not be written
    found = arms_of(to, [b"no json", b'{"user":null}', b"{}", deep, b'{"user":7}'])
    assert [found[row] for row in range(4)] == [("", ("old",))] * 4
    assert found[4][0] in ("control", "treatment")


def test_a_plan_with_an_experiment_outlives_a_restart_and_ends_with_the_next_plan():
    to = router()
    decide_by(to, plan_of_step(OF_USERS, 2), 1)
    again = Router(JsonCodec(), raw_json=True, max_batch=1024, subtask=0, now=lambda: 1000)
    again.restore("t", to.log("t"))
    assert arms_of(again, RECORDS) == arms_of(to, RECORDS)
    assert tell(again, operation=EXPERIMENT, experiment="{}") == []
    decide_by(again, plan_of_arm(OF_USERS, "treatment"), 2)
    assert set(arms_of(again, RECORDS).values()) == {("", ("new",))}


def test_a_micro_batch_without_a_split_goes_on_as_it_came():
    batch = batch_of(RECORDS)
    ((part, way),) = Splitting(Plan(), JsonCodec(), True).parts(batch)
    assert part is batch and not way.experiment


def test_a_result_says_experiment_arm_and_step():
    stamp = DecidedStamp("t", "wine-v4", 3, 100, 1.0, {"wine-v4": ("treatment", 1)})
    part = Part(np.array([0]), {"q": np.zeros(1)}, "new", "first")
    (line,), _ = write_decided([b"{}"], stamp, Identity("s", [0], [1], [None]), [part], [])
    assert orjson.loads(line)["millrace"]["experiments"] == {"wine-v4": {"arm": "treatment", "step": 1}}
    assert read_result(line).experiments == {"wine-v4": ("treatment", 1)}
    (plain,), _ = write_decided(
        [b"{}"], DecidedStamp("t", "p", 3, 100, 1.0), Identity("s", [0], [1], [None]), [part], []
    )
    assert b"experiments" not in plain and read_result(plain).experiments == {}


def test_arms_are_models_plans_and_shadows():
    declared = read_experiment("""
        name = "wine-v4"
        data_type = "wine"
        entity = "customer"
        deadline_ms = 50
        end = 2026-12-24T12:00:00Z
        [arms.control]
        model = "wine-3"
        version = 3
        [arms.vote.plan]
        deadline_ms = 70
        policy = {policy = "majority", output = "quality", least = 2}
        [arms.treatment]
        shadow = "wine-4"
        [primary]
        name = "correct"
    """)
    assert plan_of_arm(declared, "control") == Plan(route=Only(("wine-3",)), deadline_ms=50)
    assert plan_of_arm(declared, "vote") == Plan(Majority(output="quality", least=2), deadline_ms=70)
    assert plan_of_arm(declared, "treatment").shadow == ("wine-4",)
    plan = plan_of_step(declared, 1)
    assert read_plan(write_plan(plan)) == plan
    with pytest.raises(ExperimentError, match="no step 4"):
        plan_of_step(declared, 4)


def test_a_shadow_that_decides_for_the_control_is_refused():
    bad = msgspec.structs.replace(OF_USERS, arms={"control": Arm("old"), "treatment": Arm(shadow="old")})
    with pytest.raises(ExperimentError, match="'old', which is a shadow"):
        plan_of_step(bad, 0)


def split(**changes) -> dict:
    arms = [{"name": "a", "share": 0.5, "plan": {}}, {"name": "b", "share": 0.5, "plan": {}}]
    return {"experiment": {"name": "e", "entity": "u", "salt": "s", "arms": arms, **changes}}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (split(name=""), "needs its name"),
        (split(salt=""), "needs its salt"),
        (split(arms=[{"name": "a", "share": 0.5, "plan": {}}]), "from 2 to 8 arms"),
        (split(arms=[{"name": "a", "share": 0.5, "plan": {}}] * 2), "a name of its own"),
        (split(arms=[{"name": n, "share": 0.4, "plan": {}} for n in "ab"]), "add up to 1"),
        (
            split(arms=[{"name": "a", "share": 0, "plan": {}}, {"name": "b", "share": 1, "plan": {}}]),
            "add up",
        ),
        (split(step=-1), "step of the ramp"),
        ({**split(), "deadline_ms": 50}, "nothing may be set"),
        (split(arms=[{"name": n, "share": 0.5, "plan": split()} for n in "ab"]), "one plan has one"),
        (
            split(arms=[{"name": n, "share": 0.5, "plan": {"deadline_ms": 0}} for n in "ab"]),
            "arm 'a': deadline",
        ),
        ({"route": {"route": "only", "candidates": []}}, "at least one candidate"),
    ],
)
def test_a_split_that_contradicts_itself_is_refused(plan, said):
    with pytest.raises(PlanError, match=said):
        read_plan(orjson.dumps(plan))


def test_the_default_plan_is_written_as_before():
    assert b"experiment" not in write_plan(Plan(First()))
