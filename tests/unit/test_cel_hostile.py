"""CEL rules made to hold up, exhaust or end who evaluates them: refused when they come, or cut off."""

from __future__ import annotations

import time

import numpy as np
import pytest

from schemas.codecs.json_codec import JsonCodec
from schemas.errors import PlanError
from schemas.expression_bounds import ExpressionBounds
from schemas.model_pb2 import ModelDescriptor
from schemas.plans.plan import LONGEST_PLAN, ByRule, Plan, Rule, read_plan, write_plan
from schemas.results.records import EventKind
from tests.serving_fakes import batch_of
from udfs.ensemble.cel.bounds import CelBounds
from udfs.ensemble.cel.rules import CelRule
from udfs.ensemble.routing import router as router_module
from udfs.ensemble.routing.router import Router
from udfs.models.descriptor import build, parse

TEN = "[1,2,3,4,5,6,7,8,9,10]"
NESTED = "".join(f"{TEN}.all(x{i}, " for i in range(5)) + "record.id == 1" + ")" * 5
CHAINS = {
    "or": lambda n: " || ".join(["record.a == 2"] * n),
    "plus": lambda n: "record.a" + "+1" * n + " > 0",
    "dots": lambda n: "record" + ".a" * n + " == 1",
    "brackets": lambda n: "(" * n + "1" + ")" * n + " == 1",
    "not": lambda n: "!" * n + "(record.a==1)",
    "minus": lambda n: "-" * n + "record.a == 1",
    "conditions": lambda n: "record.a==1?true:" * n + "false",
    "lists": lambda n: "[" * n + "]" * n + " == []",
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("length", [20, 150, 450, 900, 2000])
def test_chains_are_followed_or_refused_by_their_length(name: str, length: int):
    """Never with another error: it would be the job's."""
    try:
        rule = CelRule(CHAINS[name](length))
    except PlanError as e:
        assert length > 20 and len(str(e)) < 400
        assert any(word in str(e) for word in ("characters", "brackets", "chained", "cannot be read"))
    else:
        assert length <= 450
        assert rule.holds([{"a": 1}, {"a": 2}]).shape == (2,)


@pytest.mark.parametrize(
    ("when", "says"),
    [
        (NESTED, "5 macros one within the other, and 2 are the most"),
        ("record.l.map(x, record.l.map(y, record.l.map(z, 1))) == []", "3 macros"),
        ("record.a in [" + ",".join(["1"] * 1900) + "]", "parts"),
        ("x" * 4001, "4001 characters, and 4000 are the most"),
        ('record.a == "' + "\\n" * 60, "a text that does not end, from character 13 on"),
        ("record.a == '''" + "\\n" * 60 + "'", "a text that does not end"),
        ("record.a == 1 // '" + "\\n" * 60, None),
        ("record.a == '\\'' && record.b == r'\\''", None),
        (" || ".join(f"n{i}" for i in range(150)), "names n0, n1"),
    ],
)
def test_what_is_too_much_is_said(when: str, says: str | None):
    if says is None:
        CelRule(when)
        return
    with pytest.raises(PlanError, match=says) as caught:
        CelRule(when)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "when",
    [
        "[0].map(x, record.l.map(y, record.l)).size() > 0",
        "record.l.all(x, record.l.all(y, x == y || x != y))",
        "[1].exists(x, record.l.reduce(a, x, 'xx', a + a) == 'x')",
        "[1].exists(x, record.l.reduce(a, x, [1], [a, a]) == record.l.reduce(a, x, [1], [a, a]))",
        "[1].exists(x, record.l.reduce(a, x, [1], a + a) == [])",
        "[1].exists(x, string(record.l.reduce(a, x, [1], [a, a])) == '')",
    ],
)
def test_what_one_record_takes_and_makes_is_bounded(when: str):
    """Its evaluation fails, and that of its neighbours does not."""
    rule = CelRule(when, CelBounds(record_steps=5000))
    large = {"l": list(range(200))}
    assert rule.holds([large]).tolist() == [False]
    assert not rule.spent


@pytest.mark.parametrize("text", ["a" * 60 + "!", "1h" * 30 + "!", "1" * 100_000, "-" * 5000])
def test_texts_that_are_no_times_are_found_out_in_no_time(text: str):
    for when in (
        "duration(record.s) > duration('1s')",
        "timestamp(record.s) > timestamp('2020-01-01T00:00:00Z')",
    ):
        assert CelRule(when).holds([{"s": text}]).tolist() == [False]
    assert CelRule("duration(record.s) == duration('90m')").holds([{"s": "1h30m"}]).tolist() == [True]


def test_a_micro_batch_has_a_budget_and_a_rule_that_uses_it_up_is_no_longer_evaluated():
    rule = CelRule("record.l.exists(x, x > 5)", CelBounds(batch_steps=1500, record_steps=1000))
    records = [{"l": [9]}] * 100
    found = rule.holds(records)
    told = int(found.sum())
    assert 0 < told < 100 and found[:told].all() and not found[told:].any()
    assert rule.holds(records[:3]).all(), "a batch within the budget is whole"
    for _ in range(3):
        assert not rule.spent
        rule.holds(records)
    assert rule.spent and not rule.holds(records[:3]).any()


def test_many_types_in_one_batch_are_within_the_budget_too():
    rule = CelRule(" || ".join(f"record.f{i} == {i}" for i in range(20)), CelBounds(batch_steps=5000))
    kinds = [1, 1.5, "x", True, None]
    rng = np.random.default_rng(0)
    records = [{f"f{i}": kinds[rng.integers(5)] for i in range(20)} for _ in range(500)]
    assert rule.by_columns
    assert rule.holds(records).shape == (500,)
    assert not rule.spent


def test_bounds_of_texts_and_trees():
    bounds = ExpressionBounds(characters=10, brackets=2, nodes=4, depth=3)
    assert bounds.of_text("([])") == "" and "3 brackets" in bounds.of_text("((()))")
    assert "11 characters" in bounds.of_text("x" * 11)
    chain = {1: [2], 2: [3], 3: [], 9: [1], 8: [9]}
    assert bounds.of_tree(1, chain.get) == "" and "3 deep" in bounds.of_tree(8, chain.get)
    assert "4 parts" in bounds.of_tree(0, lambda n: [n + 1, n + 1] if n < 2 else [])


class Harness:
    def __init__(self, stored: bytes | None = None) -> None:
        self.router = Router(JsonCodec(), raw_json=True, max_batch=1024, subtask=0)
        self.restored = self.router.restore("wine", stored)
        for name in ("a", "b"):
            self.publish(build(data_type="wine", name=name, data=b"x"))

    def publish(self, descriptor: bytes):
        return self.router.publish(descriptor, parse(descriptor))

    def decide(self, plan: str):
        """Past the checks of who publishes."""
        descriptor = ModelDescriptor(dataType="wine", operation=ModelDescriptor.DECIDE, plan=plan)
        return self.publish(descriptor.SerializeToString())


def plan_of(when: str, rules: int = 1) -> str:
    return write_plan(Plan(route=ByRule(tuple(Rule(when, ("a",)) for _ in range(rules))))).decode()


@pytest.mark.parametrize(
    "plan",
    [
        plan_of(NESTED),
        plan_of(CHAINS["or"](400)),
        plan_of("record.a == 1", rules=65),
        '{"route": ' * 5000,
        "[" * 90_000,
        " " * (LONGEST_PLAN + 1),
        '{"deadline_ms": ' + "9" * 5000 + "}",
    ],
)
def test_a_plan_is_refused_and_the_one_in_force_goes_on(plan: str):
    harness = Harness()
    before = harness.router.log("wine")
    (event,) = harness.decide(plan)
    assert event.kind is EventKind.REFUSED and event.step == "plan" and len(event.reason) < 1000
    assert harness.router.log("wine") == before
    assert len(list(harness.router.route(batch_of([b'{"id":1}'], "wine")))) == 1


def test_whatever_reading_a_plan_raises_is_its_refusal(monkeypatch):
    harness = Harness()
    for error in (RecursionError, MemoryError, KeyError):

        def reading(data, kind=error):
            raise kind("deep down")

        monkeypatch.setattr(router_module, "read_plan", reading)
        (event,) = harness.decide(plan_of("record.a == 1"))
        assert event.kind is EventKind.REFUSED and error.__name__ in event.reason


def test_a_plan_in_state_that_can_no_longer_be_followed_is_refused_at_a_restore(monkeypatch):
    harness = Harness()
    assert [e.kind for e in harness.decide(plan_of("record.a == 1"))] == [EventKind.DECIDES]
    stored = harness.router.log("wine")
    real = router_module.read_plan

    def reading(data):
        if data:
            raise PlanError("the rule has 5 macros one within the other, and 2 are the most")
        return real(data)

    monkeypatch.setattr(router_module, "read_plan", reading)
    again = Harness(stored)
    (event,) = again.restored
    assert event.kind is EventKind.REFUSED and "macros" in event.reason and event.name == "plan"
    assert len(list(again.router.route(batch_of([b'{"id":1}'], "wine")))) == 1
    assert Harness(again.router.log("wine")).restored == []


def test_a_plan_within_the_bounds_reads_as_it_was_written():
    assert read_plan(plan_of("record.a == 1", rules=64)).route.rules[63].when == "record.a == 1"


def test_whatever_a_function_raises_for_a_record_is_a_rule_that_does_not_hold():
    """A time zone is looked for among files, whose names have an end: `OSError`."""
    rule = CelRule("timestamp(record.t).getHours(record.zone) == 1")
    good = {"t": "2026-01-01T01:00:00Z", "zone": "UTC"}
    assert rule.holds([good, good | {"zone": "A" * 100_000}, good]).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("when", "by_columns"),
    [
        ("record.l.exists(x, record.t.contains(x))", False),
        ("record.l.exists(x, record.t.matches(x))", False),
        (" || ".join(["record.t.contains(record.u)"] * 60), True),
    ],
)
def test_long_texts_that_are_searched_again_and_again_use_up_the_budget(when: str, by_columns: bool):
    rule = CelRule(when, CelBounds(batch_steps=20_000))
    assert rule.by_columns is by_columns
    assert rule.holds([{"t": "a" * 100 + "bb", "u": "bb", "l": ["c", "bb"]}]).tolist() == [True]
    long = {"t": ("a" * 999 + "b") * 500, "u": "a" * 998 + "c", "l": ["a" * 998 + "c"] * 2000}
    started = time.perf_counter()
    for _ in range(3):
        assert not rule.holds([long] * 40).any()
    assert rule.spent and time.perf_counter() - started < 10
