"""Plans are checked when they arrive: what contradicts itself is refused in one sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import PlanError
from schemas.plans.plan import (
    LONGEST_CHAIN,
    All,
    First,
    MeanAnswer,
    Plan,
    chain,
    read_plan,
    tag_of,
    write_plan,
)
from tests.decision_strategies import chained, links


def test_nothing_is_the_default_plan():
    assert read_plan(b"") == read_plan(b"{}") == Plan(First(), All(), (), 100)


def possible(link) -> bool:
    return not (isinstance(link, MeanAnswer) and link.weights and link.least > len(link.weights))


@given(link=links.filter(possible), deadline=st.integers(1, 60_000), shadow=st.sampled_from([(), ("s", "t")]))
def test_a_plan_is_read_back(link, deadline, shadow):
    plan = Plan(link, shadow=shadow, deadline_ms=deadline)
    assert read_plan(write_plan(plan)) == plan
    assert json.loads(write_plan(plan))["policy"]["policy"] == tag_of(link)


def test_a_chain_is_bounded():
    longest = chained([First()] * LONGEST_CHAIN)
    assert len(list(chain(read_plan(write_plan(Plan(longest))).policy))) == LONGEST_CHAIN
    with pytest.raises(PlanError, match="may chain 16 policies"):
        read_plan(write_plan(Plan(First(otherwise=longest))))
    with pytest.raises(PlanError, match="not a plan"):
        read_plan('{"policy":' + '{"policy":"first","otherwise":' * 10_000 + "null" + "}" * 10_001)


def policy(name: str, **fields):
    return {"policy": {"policy": name, **fields}}


def route(name: str, **fields):
    return {"route": {"route": name, **fields}}


def experiment(second: str = "treatment", **said):
    arms = [{"name": name, "share": 0.5, "plan": {}} for name in ("control", second)]
    return {"experiment": {"name": "e", "entity": "id", "salt": "s", "arms": arms, **said}}


RULE = {"when": "true", "candidates": ["a"]}
BAD = [
    ([], "not a plan: Expected `object`"),
    ({"deadline": 5}, "unknown field `deadline`"),
    ({"deadline_ms": 0}, "deadline_ms must be from 1 to 60,000, not 0"),
    ({"deadline_ms": 60_001}, "deadline_ms must be"),
    ({"shadow": ["a", "a"]}, "shadow names a candidate twice"),
    ({"shadow": [""]}, "shadow has a candidate without a name"),
    (policy("best"), "Invalid value 'best'"),
    (policy("first", least=1), "unknown field `least`"),
    (policy("prefer"), "prefer.candidates must name at least one candidate"),
    (policy("prefer", candidates=["a", "a"]), "names a candidate twice"),
    ({**policy("prefer", candidates=["a", "b"]), "shadow": ["b"]}, "names 'b', which is a shadow"),
    (policy("majority"), "majority must name its output"),
    (policy("majority", output="y", least=0), "majority: least must be 1 or more, not 0"),
    (policy("majority", output="y", tie="confidence"), "go together"),
    (policy("majority", output="y", confidence="p"), "go together"),
    (policy("majority", output="y", tie="random"), "Invalid enum value 'random'"),
    (policy("majority", output="y", within=1.5), "within must be from 0 to 1, not 1.5"),
    (policy("mean", output="y", least=0), "mean: least must be 1 or more"),
    (policy("mean", output="y", weights={"a": 0.0}), "the weight of 'a' must be from 1e-30 to 1e+30"),
    (policy("mean", output="y", weights={"a": 1e308, "b": 1e308}), "from 1e-30 to 1e+30, and is 1e+308"),
    (policy("mean", output="y", weights={"a": 5e-324}), "from 1e-30 to 1e+30, and is 5e-324"),
    (policy("mean", output="y" * 201), "the output of mean is 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy'..."),
    (policy("mean", output="y", weights={"a": 1.0}, least=2), "least is 2, but weights names only 1"),
    (policy("median"), "median must name its output"),
    (policy("best_confidence"), "best_confidence must name its confidence"),
    (policy("best_quality"), "best_quality must name its metric"),
    (policy("agreement", output="y", tolerance=-0.5), "tolerance must not be negative, and is -0.5"),
    (policy("agreement", output="y", least=1), "agreement: least must be 2 or more"),
    (policy("fallback"), "fallback must have a value"),
    (policy("fallback", value={"y": 2**64}), "a value that no result can hold"),
    (policy("fallback", value={"y": json.loads("[" * 300 + "]" * 300)}), "a value that no result can hold"),
    (policy("fallback", value={"y" * 201: 1}), "an output of fallback is 'yyy"),
    (policy("fallback", value={"y": 1}, otherwise={"policy": "first"}), "would never be asked"),
    (policy("first", otherwise={"policy": "median"}), "median must name its output"),
    (experiment(step=2**31), "the step of the ramp must be from 0 to 2147483647"),
    (experiment(step=10**400), "the step of the ramp must be from 0 to 2147483647"),
    (experiment(name="e" * 201), "the name of the experiment is 'eee"),
    (experiment(salt="e" * 201), "the salt of the experiment is 'eee"),
    (experiment(second="e" * 201), "an arm of the experiment is 'eee"),
    (route("rules", rules=[]), "at least one rule"),
    (route("rules", rules=[RULE, {**RULE, "when": " "}]), "rule 2 of the route has no condition"),
    (route("rules", rules=[{**RULE, "candidates": []}]), "rule 1 of the route must name at least one"),
    ({**route("rules", rules=[RULE], otherwise=["s"]), "shadow": ["s"]}, "names 's', which is a shadow"),
    (route("hash", weights={}), "must have weights"),
    (route("hash", weights={"a": -1.0}), "the weight of 'a' must be from 1e-30"),
]


@pytest.mark.parametrize(("plan", "said"), BAD)
def test_what_contradicts_itself_is_refused(plan, said):
    with pytest.raises(PlanError) as refused:
        read_plan(json.dumps(plan))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
