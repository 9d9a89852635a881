"""The router's state machine: candidates and plans come and go, and every record is asked about."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from schemas.codecs.json_codec import JsonCodec
from schemas.errors import PlanError
from schemas.plans.plan import All, ByHash, ByRule, Plan, Rule, read_plan, write_plan
from schemas.results.records import EventKind
from tests.serving_fakes import batch_of
from udfs.ensemble.routing.router import Routed, Router
from udfs.models.descriptor import DECIDE, PLAN_NAME, WITHDRAW, build, parse

NOW = 1_000


class Harness:
    """A `Router` of the data type `t`, and short words for what it is told and answers."""

    def __init__(self, stored: bytes | None = None, max_batch: int = 1024) -> None:
        self.router = Router(JsonCodec(), raw_json=True, max_batch=max_batch, subtask=3, now=lambda: NOW)
        self.router.restore("t", stored)

    def tell(self, **more) -> list[str]:
        descriptor = build(data_type="t", **more)
        sent = self.router.publish(descriptor, parse(descriptor))
        assert all((e.data_type, e.subtask, e.at) == ("t", 3, NOW) for e in sent)
        self.last = sent[-1] if sent else None
        return [f"{e.kind} {e.name} {e.version}" for e in sent]

    def model(self, name: str, version: int = 1, model_type: str = "PMML", **more) -> list[str]:
        data = b"%s %d" % (name.encode(), version)
        return self.tell(name=name, version=version, model_type=model_type, data=data, **more)

    def plan(self, plan: Plan, version: int = 0, **more) -> list[str]:
        return self.tell(operation=DECIDE, plan=write_plan(plan).decode(), version=version, **more)

    def route(self, *numbers: float) -> list[Routed]:
        return list(self.router.route(batch_of([b'{"a":%d}' % n for n in numbers], start=7)))

    def asked(self, *numbers: float) -> dict[str, tuple[int, ...] | None]:
        (one,) = self.route(*numbers)
        return {a.candidate: a.rows for a in one.context.asked}

    def restarted(self) -> Harness:
        return Harness(self.router.log("t"))


def test_nobody_is_asked_before_the_first_candidate():
    harness = Harness()
    assert not harness.router.routes("t")
    (one,) = harness.route(1, 2)
    assert (one.requests, one.context.asked) == ({}, ())
    assert harness.model("a") == []
    assert harness.router.routes("t")


def test_a_batch_goes_to_each_model_type_once_and_to_the_collector():
    harness = Harness()
    harness.model("a", metrics={"f1": 0.5})
    harness.model("b", 4, "TENSORFLOWSAVED", metrics={"f1": 0.75})
    harness.model("c")
    (one,) = harness.route(1, 2)
    assert {t: [a.candidate for a in r.asked] for t, r in one.requests.items()} == {
        "PMML": ["a", "c"],
        "TENSORFLOWSAVED": ["b"],
    }
    expected = one.context
    assert orjson.loads(expected.batch_id) == ["t", "topic", 0, 7]
    assert (expected.created, expected.deadline) == (NOW, NOW + 100)
    assert (expected.plan_name, expected.plan_version, read_plan(expected.plan)) == ("", 0, Plan())
    assert expected.metrics == {"a": {"f1": 0.5}, "b": {"f1": 0.75}, "c": {}}
    assert {a.candidate: a.rows for a in expected.asked} == {"a": None, "b": None, "c": None}
    for request in one.requests.values():
        about = (request.batch_id, request.data_type, request.created, request.deadline)
        assert about == (expected.batch_id, "t", expected.created, expected.deadline)


def test_long_batches_are_sliced_with_ids_of_their_own():
    harness = Harness(max_batch=2)
    harness.model("a")
    routed = harness.route(1, 2, 3, 4, 5)
    assert [len(one.batch) for one in routed] == [2, 2, 1]
    assert [one.batch.offsets[0] for one in routed] == [7, 9, 11]
    assert len({one.context.batch_id for one in routed}) == 3


def test_a_plan_counts_from_when_it_arrives_and_the_newest_wins():
    harness = Harness()
    harness.model("a")
    harness.model("b")
    route = ByRule((Rule("record.a > 1", ("b",)),), ("a",))
    assert harness.plan(Plan(route=route, deadline_ms=50), 3) == ["decides plan 3"]
    assert harness.asked(0, 2) == {"a": (0,), "b": (1,)}
    (one,) = harness.route(1)
    assert one.context.deadline == NOW + 50
    assert (one.context.plan_name, one.context.plan_version) == (PLAN_NAME, 3)
    assert read_plan(one.context.plan).route == route
    assert harness.plan(Plan(), 2) == ["refused plan 2"] and "older than version 3" in harness.last.reason
    assert harness.plan(Plan(route=route, deadline_ms=50), 3) == ["already_served plan 3"]
    assert harness.plan(Plan(route=All()), 2, force=True) == ["decides plan 2"]
    assert harness.asked(0, 2) == {"a": None, "b": None}


def test_a_rule_that_is_slow_to_evaluate_is_told():
    harness = Harness()
    fast = Rule("record.a > 1", ("b",))
    harness.plan(Plan(route=ByRule((fast,))))
    assert harness.last.reason == ""
    harness.plan(Plan(route=ByRule((fast, Rule("record.b.matches('x')", ("a",))))))
    assert "record.b.matches('x')" in harness.last.reason and fast.when not in harness.last.reason


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (b'{"deadline_ms": 0}', "deadline_ms"),
        (b"{", "not a plan"),
        (b'{"route": {"route": "rules", "rules": []}}', "one rule"),
        (
            b'{"route": {"route": "rules", "rules": [{"when": "record.a >", "candidates": ["a"]}]}}',
            "no CEL expression",
        ),
        (
            b'{"route": {"route": "rules", "rules": [{"when": "alcohol > 1", "candidates": ["a"]}]}}',
            "alcohol",
        ),
        (b'{"route": {"route": "hash", "weights": {"a": -1}}}', "weights"),
        (b'{"route": {"route": "hash", "weights": {}}}', "weights"),
    ],
)
def test_a_plan_that_cannot_be_followed_changes_nothing_and_may_be_mended(plan: bytes, why: str):
    harness = Harness()
    harness.model("a")
    harness.plan(Plan(deadline_ms=50), 1)
    before, revision = harness.router.log("t"), harness.router.revision("t")
    message = parse(build(data_type="t", operation=DECIDE, version=2))
    descriptor = build(data_type="t", operation=DECIDE, version=2)
    (event,) = harness.router.publish(
        descriptor,
        type(message)(
            **{n: getattr(message, n) for n in message.__dataclass_fields__} | {"plan": plan.decode()}
        ),
    )
    assert (event.kind, event.name, event.version, event.step) == (EventKind.REFUSED, PLAN_NAME, 2, "plan")
    assert why in event.reason
    assert (harness.router.log("t"), harness.router.revision("t")) == (before, revision)
    assert harness.plan(Plan(deadline_ms=60), 2) == ["decides plan 2"]


def test_unpublishing_a_plan_returns_to_the_default():
    harness = Harness()
    harness.model("a")
    harness.plan(Plan(deadline_ms=50), 1, name="night")
    assert harness.tell(operation=WITHDRAW, name="day") == []
    assert harness.tell(operation=WITHDRAW) == []  # all models, no plan
    assert not harness.router.routes("t")
    harness.model("a")
    assert harness.route(1)[0].context.deadline == NOW + 50
    assert harness.tell(operation=WITHDRAW, name="night") == ["withdrawn night 1"]
    assert harness.route(1)[0].context.deadline == NOW + 100
    assert harness.plan(Plan(deadline_ms=50), 1, name="night") == ["decides night 1"]


def test_a_unpublished_candidate_is_not_asked_and_its_records_find_another():
    harness = Harness()
    for name in "abc":
        harness.model(name)
    harness.plan(Plan(route=ByRule((Rule("record.a > 1", ("b",)),), ("a",)), shadow=("c",)))
    assert harness.asked(0, 2) == {"a": (0,), "b": (1,), "c": None}
    harness.tell(operation=WITHDRAW, name="b")
    assert harness.asked(0, 2) == {"a": None, "c": None}
    harness.tell(operation=WITHDRAW, name="a")
    assert harness.asked(0, 2) == {"c": None}


def test_a_stale_model_says_nothing_here_and_changes_nothing():
    harness = Harness()
    harness.model("a", 2, metrics={"f1": 0.5})
    before = harness.router.log("t")
    assert harness.model("a", 1, "TENSORFLOW") == []
    assert harness.router.log("t") == before
    assert set(harness.route(1)[0].requests) == {"PMML"}
    harness.model("a", 3, "TENSORFLOW")
    assert set(harness.route(1)[0].requests) == {"TENSORFLOW"}


def test_a_restart_goes_on_with_the_same():
    harness = Harness()
    harness.model("a", metrics={"f1": 0.5})
    harness.model("b", 2, "TENSORFLOW")
    harness.model("c", 3)
    harness.tell(operation=WITHDRAW, name="c")
    harness.plan(Plan(route=ByHash({"a": 1, "b": 2}, "a"), deadline_ms=50), 5)
    again = harness.restarted()
    assert again.route(*range(50)) == harness.route(*range(50))
    assert again.router.log("t") == harness.router.log("t")
    assert again.plan(Plan(), 4) == ["refused plan 4"]
    again.plan(Plan(), 6)
    again.model("c", 2)  # older than the one that was withdrawn
    assert set(again.asked(1)) == {"a", "b"}
    again.model("c", 3)
    assert set(again.asked(1)) == {"a", "b", "c"}


def test_an_unreadable_descriptor_is_told():
    event = Harness().router.unreadable(b"\xff")
    assert (event.kind, event.data_type, event.step) == (EventKind.REFUSED, "", "descriptor")


NAMES = st.sampled_from("abcd")
SOME = st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple)
ROUTES = (
    st.just(All())
    | st.builds(
        ByRule,
        st.lists(
            st.builds(
                Rule,
                st.sampled_from(["record.a > 3", "record.b", "1 / record.a == 1", "has(record.c)"]),
                SOME,
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
        SOME,
    )
    | st.builds(
        ByHash, st.dictionaries(NAMES, st.floats(0.1, 5), min_size=1), st.sampled_from(["", "a", "c"])
    )
)
RECORDS = st.sampled_from(
    [b'{"a":1,"b":true}', b'{"a":5}', b'{"a":0,"c":"x"}', b"no json", b"[]", b"", b'{"a":1e999}', b"{}"]
)


@given(
    st.sets(NAMES),
    ROUTES,
    st.lists(NAMES, max_size=2, unique=True).map(tuple),
    st.lists(RECORDS, min_size=1, max_size=20),
    st.integers(1, 8),
)
def test_every_record_is_asked_of_somebody_who_may_decide(names, route, shadow, payloads, max_batch):
    try:
        read_plan(write_plan(Plan(route=route, shadow=shadow)))
    except PlanError:
        reject()
    harness = Harness(max_batch=max_batch)
    for name in sorted(names):
        harness.model(name)
    harness.plan(Plan(route=route, shadow=shadow))
    routed = list(harness.router.route(batch_of(payloads)))
    assert [p for one in routed for p in one.batch.payloads] == payloads
    for one in routed:
        asked = one.context.asked
        assert {a.candidate for a in asked} <= names and len({a.candidate for a in asked}) == len(asked)
        requested = [a for request in one.requests.values() for a in request.asked]
        assert sorted(requested, key=lambda a: a.candidate) == sorted(asked, key=lambda a: a.candidate)
        rows = set(range(len(one.batch)))
        for a in asked:
            assert a.rows is None or (a.rows == tuple(sorted(set(a.rows))) and set(a.rows) < rows and a.rows)
            assert a.shadow == (a.candidate in shadow) and (not a.shadow or a.rows is None)
        covered = {row for a in asked if not a.shadow for row in (rows if a.rows is None else a.rows)}
        assert covered == (rows if names - set(shadow) else set())
        assert {a.candidate for a in asked if a.shadow} == names & set(shadow)
        for row, payload in enumerate(one.batch.payloads):
            if isinstance(route, ByRule) and payload in (b"no json", b"[]", b""):
                whom = {a.candidate for a in asked if not a.shadow and (a.rows is None or row in a.rows)}
                assert whom == names - set(shadow)
