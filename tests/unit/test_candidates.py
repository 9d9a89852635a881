"""What the router knows of a data type, and how it survives a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StaleVersionError
from schemas.model_pb2 import RouterLog
from schemas.plans.plan import Plan, write_plan
from udfs.ensemble import candidates as module
from udfs.ensemble.candidates import Candidate, Candidates
from udfs.models.descriptor import DECIDE, build, parse
from udfs.models.quotas import Quotas


def publish(known: Candidates, name: str, version: int = 1, **more) -> bool:
    data = more.pop("data", b"%s %d" % (name.encode(), version))
    published = parse(build(data_type="t", name=name, version=version, data=data, **more))
    return known.publish(published, Quotas())


def decide(known: Candidates, name: str, version: int, deadline_ms: int, force: bool = False):
    plan = write_plan(Plan(deadline_ms=deadline_ms)).decode()
    descriptor = build(data_type="t", name=name, operation=DECIDE, plan=plan, version=version, force=force)
    return known.decide(parse(descriptor), descriptor)


def test_candidates_stand_side_by_side_and_versions_of_a_name_replace_each_other():
    known = Candidates()
    assert publish(known, "a", 1, model_type="PMML", metrics={"f1": 0.5})
    assert publish(known, "b", 7)
    assert publish(known, "a", 2, model_type="TENSORFLOWSAVED", metrics={"f1": 0.75})
    assert not publish(known, "a", 2)
    assert list(known.all().values()) == [
        Candidate("a", "TENSORFLOWSAVED", 2, {"f1": 0.75}),
        Candidate("b", "TENSORFLOW", 7, {}),
    ]


def test_plan_names_and_model_names_do_not_meet():
    known = Candidates()
    publish(known, "n", 5)
    assert decide(known, "n", 1, 50) is not None
    assert (known.plan.name, known.plan.version, known.all()["n"].version) == ("n", 1, 5)


def test_a_model_s_bytes_do_not_go_into_the_state():
    known = Candidates()
    publish(known, "a", 1, data=bytes(100_000))
    assert len(known.encoded()) < 200


def test_the_memory_of_unpublished_names_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_UNPUBLISHED_KEPT", 3)
    known = Candidates()
    publish(known, "stays")
    for k in range(10):
        publish(known, f"m{k}", 5)
        known.unpublish(f"m{k}")
    assert [one.name for one in RouterLog.FromString(known.encoded()).candidates] == [
        "stays",
        "m7",
        "m8",
        "m9",
    ]
    assert set(known.all()) == {"stays"}


NAMES = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), NAMES, st.integers(0, 4), st.booleans()),
        st.tuples(st.just("decide"), NAMES, st.integers(0, 4), st.booleans()),
        st.tuples(st.just("unpublish"), st.sampled_from(["a", "b", "c", ""])),
    ),
    max_size=15,
)


def take(known: Candidates, step) -> str:
    """Do a step; what it answered."""
    try:
        if step[0] == "publish":
            return str(publish(known, step[1], step[2], force=step[3], metrics={"m": float(step[2])}))
        if step[0] == "decide":
            return str(decide(known, step[1], step[2], 50 + step[2], force=step[3]))
        return str(known.unpublish(step[1]))
    except StaleVersionError as e:
        return str(e)


@given(STEPS, STEPS)
def test_a_restart_in_between_is_not_noticed(before, after):
    known = Candidates()
    for step in before:
        take(known, step)
    again = Candidates.decode(known.encoded())
    assert again.encoded() == known.encoded()
    assert again.all() == known.all() and list(again.all()) == list(known.all())
    assert (again.plan, again.plan_text()) == (known.plan, known.plan_text())
    for step in after:
        assert take(again, step) == take(known, step)
    assert again.all() == known.all() and again.plan == known.plan
