"""Who is asked about which record: rules in order, sticky entities, shadows, and records that fit nowhere."""

from __future__ import annotations

import pytest

from schemas.codecs.json_codec import JsonCodec
from schemas.plans.plan import ByHash, ByRule, Plan, Rule
from schemas.results.answers import Asked
from tests.serving_fakes import batch_of
from udfs.ensemble.routing.routing import Routing, asked_by_type


def asked(plan: Plan, payloads: list[bytes], candidates: str = "abc", **more) -> dict[str, tuple | None]:
    routing = Routing(plan, JsonCodec(), raw_json=True)
    return {one.candidate: one.rows for one in routing.asked(batch_of(payloads, **more), candidates)}


def one_each(plan: Plan, payloads: list[bytes], candidates: str = "abc", **more) -> list[str]:
    """The candidate of each record, where each has one."""
    rows = asked(plan, payloads, candidates, **more)
    found = [[n for n, r in rows.items() if r is None or k in r] for k in range(len(payloads))]
    assert all(len(names) == 1 for names in found)
    return [names[0] for names in found]


def test_the_first_rule_that_holds_counts():
    rules = (Rule("record.a > 10", ("a", "b")), Rule("record.a > 5", ("c",)))
    records = [b'{"a":11}', b'{"a":6}', b'{"a":1}', b'{"b":1}', b'{"a":"x"}']
    assert asked(Plan(route=ByRule(rules, ("b",))), records) == {"a": (0,), "b": (0, 2, 3, 4), "c": (1,)}
    assert asked(Plan(route=ByRule(rules)), records) == {
        "a": (0, 2, 3, 4),
        "b": (0, 2, 3, 4),
        "c": (1, 2, 3, 4),
    }


def test_all_who_may_decide_are_asked_where_a_route_leaves_nobody():
    plan = Plan(route=ByRule((Rule("record.a > 1", ("gone",)),), ("a",)), shadow=("c",))
    assert asked(plan, [b'{"a":2}', b'{"a":1}', b"no json"]) == {"a": None, "b": (0, 2), "c": None}
    assert asked(Plan(route=ByHash({"gone": 1})), [b"{}"]) == {"a": None, "b": None, "c": None}


def test_shadows_are_asked_about_every_record_and_flagged():
    routing = Routing(Plan(route=ByHash({"a": 1}), shadow=("b",)), JsonCodec(), raw_json=True)
    assert routing.asked(batch_of([b"{}", b"{}"]), "abc") == (Asked("a"), Asked("b", None, True))
    only = Routing(Plan(shadow=("a",)), JsonCodec(), raw_json=True)
    assert only.asked(batch_of([b"{}"]), "a") == (Asked("a", None, True),)
    assert only.asked(batch_of([b"{}"]), "") == ()


def test_an_entity_stays_with_its_candidate_whatever_its_batch_and_its_writer():
    plan = Plan(route=ByHash({"a": 1, "b": 1, "c": 2}, "user"))
    records = [b'{"user":"u%d","n":%d}' % (k % 50, k) for k in range(200)]
    got = one_each(plan, records)
    assert len(set(got)) == 3 and got[:50] * 4 == got
    assert one_each(plan, records[7:9], start=900) == got[7:9]
    for k in range(20):
        same = [b'{"user":%d}' % k, b'{"user":%d.0}' % k, b'{"user":"%d"}' % k]
        assert len(set(one_each(plan, same))) == 1


def test_a_record_without_entity_goes_by_its_place_and_one_without_sense_to_all():
    plan = Plan(route=ByHash({"a": 1, "b": 1}, "user"))
    records = [b"{}", b'{"user":null}'] * 50
    got = one_each(plan, records, "ab")
    assert 20 < got.count("a") < 80 and got == one_each(plan, records, "ab")
    assert asked(plan, [b"{"], "ab") == {"a": None, "b": None}


def test_without_a_field_the_record_s_key_is_the_entity():
    plan = Plan(route=ByHash({"a": 1, "b": 1}))
    keys = [b"k%d" % (k % 10) for k in range(100)]
    got = one_each(plan, [b"{}"] * 100, "ab", keys=keys)
    assert set(got) == {"a", "b"} and got[:10] * 10 == got
    without = one_each(plan, [b"{}"] * 100, "ab")
    assert set(without) == {"a", "b"}
    assert one_each(plan, [b"{}"] * 100, "ab", keys=[None] * 100) == without


def test_another_candidate_moves_only_its_share():
    records = [b'{"user":%d}' % k for k in range(500)]
    plan = Plan(route=ByHash({"a": 1, "b": 1, "c": 1}, "user"))
    before, after = one_each(plan, records, "ab"), one_each(plan, records, "abc")
    assert all(new in (old, "c") for old, new in zip(before, after, strict=True)) and "c" in after


@pytest.mark.parametrize("order", ["abc", "cab"])
def test_requests_are_one_a_model_type(order: str):
    some = tuple(Asked(name) for name in order)
    types = {"a": "PMML", "b": "TENSORFLOW", "c": "PMML"}
    split = asked_by_type(some, types)
    assert {t: [one.candidate for one in these] for t, these in split.items()} == {
        "PMML": [n for n in order if n != "b"],
        "TENSORFLOW": ["b"],
    }
