"""Experiments: who is in which arm, evidence that is wrong as seldom as it says, and decisions that stay."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, binom

from schemas.errors import ExperimentError
from udfs.lifecycle.evidence.asymptotic import difference, half_width, paired_difference, prior_for
from udfs.lifecycle.evidence.betting import BettingTest, log_steps
from udfs.lifecycle.evidence.quantiles import PRIOR_WEIGHT, counts_within, log_mixture, quantile_interval
from udfs.lifecycle.evidence.share_mismatch import ShareTest
from udfs.lifecycle.experiments.assignment import treated
from udfs.lifecycle.experiments.deciding import ExperimentState, begin, decide
from udfs.lifecycle.experiments.declaration import (
    Arm,
    Experiment,
    Metric,
    read_experiment,
)
from udfs.lifecycle.experiments.measured import DURATIONS
from udfs.lifecycle.statistics.moments import Moments

TOML = """
name = "wine-v4"
data_type = "wine"
entity = "customer"
share = 0.5
ramp = [0.02, 0.1, 0.5, 1.0]

[arms.control]
model = "wine"
version = 3
[arms.treatment]
model = "wine"
version = 4

[primary]
name = "bought"

[[guardrails]]
name = "latency"
kind = "quantile"
better = "lower"
q = 0.95
tolerance = 5.0
"""
BASE = read_experiment(TOML)
ENTITIES = [b"customer-%d" % k for k in range(20_000)]


def experiment(**changes) -> Experiment:
    return msgspec.structs.replace(BASE, **changes)


def test_a_declaration_comes_back():
    assert BASE.arms["treatment"] == Arm(model="wine", version=4) and BASE.own_salt == "wine-v4"
    assert msgspec.json.decode(msgspec.json.encode(BASE), type=Experiment) == BASE


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "wine-v4"', 'name = ""', "needs its name"),
        ("[arms.treatment]", "[arms.other]", "no arm 'treatment'"),
        ("share = 0.5", "share = 1.5", "share must lie"),
        ("[0.02, 0.1, 0.5, 1.0]", "[0.5, 0.1, 1.0]", "ramp rises"),
        ("[0.02, 0.1, 0.5, 1.0]", "[0.5]", "ramp rises"),
        ('name = "latency"', 'name = "bought"', "twice"),
        ('better = "lower"', 'better = "higher"', "lower is better"),
        ("q = 0.95", "q = 95", "q must lie"),
        ('"wine-v4"', f'"{"w" * 201}"', "of 201 characters; 200 are the most"),
        ("[arms.control]", f"[arms.{'w' * 201}]", "of 201 characters; 200 are the most"),
        ("version = 4", f"version = {2**63}", "a version that belongs to no model"),
        ("[0.02, 0.1, 0.5, 1.0]", str([k / 200 for k in range(1, 201)]), "200 steps, and 100 are the most"),
        ("share = 0.5", "alpha = 5e-324", "alpha must be 1e-12 or more"),
        ("share = 0.5", f"burn_in = {2**64}", "burn_in must be from 1 to"),
        ("share = 0.5", "end = 9999-12-31T23:59:59-23:59", "the years 1971 to 9998"),
        ("share = 0.5", "end = 0001-01-01T00:00:00+23:59", "the years 1971 to 9998"),
        ("tolerance = 5.0", "tolerance = -1.0", "tolerance must be"),
        ("version = 4", "plan = {}", "one of model, plan"),
        ("share = 0.5", "shares = 0.5", "unknown field"),
        ("share = 0.5", "share = ", "not TOML"),
        ('name = "bought"', 'name = "bought"\nlow = 1.0', "low must be below"),
        ('name = "bought"', 'name = "bought"\nkind = "quantile"\nbetter = "lower"', "not the primary"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(old, new, said):
    with pytest.raises(ExperimentError, match=said):
        read_experiment(TOML.replace(old, new))


def within_chance(count: int, share: float, n: int) -> bool:
    return abs(count - n * share) <= 5 * math.sqrt(n * share * (1 - share))


def test_arms_have_their_share_and_a_ramp_only_draws_entities_in():
    steps = [treated(BASE, ENTITIES, step) for step in range(4)]
    for step, share in zip(steps, (0.01, 0.05, 0.25, 0.5), strict=True):
        assert within_chance(int(step.sum()), share, len(ENTITIES))
    assert all((later | ~earlier).all() for earlier, later in itertools.pairwise(steps))
    with pytest.raises(ExperimentError, match="no step"):
        treated(BASE, ENTITIES, 4)


def test_experiments_at_once_are_independent():
    arms = [treated(experiment(name=f"e{k}"), ENTITIES, 3) for k in range(4)]
    for one, other in itertools.combinations(arms, 2):
        assert within_chance(int((one & other).sum()), 0.25, len(ENTITIES))
    same = treated(experiment(name="e9", salt="e0"), ENTITIES, 3)
    assert np.array_equal(same, arms[0])  # a salt that is shared is meant to be


def test_bets_are_fair_or_worse_whatever_the_outcomes():
    # exactly: over the arm and a coin's outcome the expected factor is 1 at the margin, below it beyond
    for share, p, q, c in itertools.product((0.01, 0.5), (0.2, 0.7), (0.1, 0.7), (0.0, 0.4, 1.0)):
        for sign, margin in ((1, q - p), (-1, q - p)):
            expected = np.zeros(10)
            for arm, x in itertools.product((True, False), (0.0, 1.0)):
                mean = q if arm else p
                weight = (share if arm else 1 - share) * (mean if x else 1 - mean)
                steps = log_steps(np.array([arm]), np.array([x]), share, centre=c, margin=margin, sign=sign)
                assert np.isfinite(steps).all()
                expected += weight * np.exp(steps[0])
            assert expected == pytest.approx(np.ones(10))


@given(st.integers(1, 200), st.integers(0, 200), st.sampled_from([0.5, 0.9, 0.99]))
@settings(max_examples=60)
def test_the_mixture_is_a_ratio_of_likelihoods(n, k, q):
    k = min(k, n)
    ratio = betabinom.logpmf(k, n, PRIOR_WEIGHT * q, PRIOR_WEIGHT * (1 - q)) - binom.logpmf(k, n, q)
    assert log_mixture(k, n, q) == pytest.approx(ratio, abs=1e-6)


@given(st.integers(1, 300), st.sampled_from([0.5, 0.95]), st.sampled_from([0.05, 0.001]))
@settings(max_examples=40)
def test_counts_that_are_not_refuted_are_found(n, q, alpha):
    low, high = counts_within(n, q, alpha)
    kept = [k for k in range(n + 1) if log_mixture(k, n, q) < -math.log(alpha)]
    assert (low, high) == (kept[0], kept[-1])


def test_a_quantile_stays_in_its_interval_at_all_times_mostly():
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(150):
        counts = np.zeros(len(DURATIONS) - 1, np.int64)
        for _ in range(10):
            counts += np.histogram(rng.exponential(20.0, 100), DURATIONS)[0]
            low, high = quantile_interval(counts, DURATIONS, 0.9, 0.1)
            if not low <= 20.0 * math.log(10) <= high:
                wrong += 1
                break
    assert wrong <= 0.1 * 150 + 5 * math.sqrt(150 * 0.09)
    assert 20 < low < high < 90  # and it says something
    assert quantile_interval(np.zeros(3, np.int64), np.array([0, 1, 2, 3.0]), 0.5, 0.1) == (0, 3)


def test_asymptotic_intervals_hold_at_all_times_and_wait_for_the_burn_in():
    rng, wrong = np.random.default_rng(2), 0
    for _ in range(200):
        one = other = Moments()
        for _ in range(20):
            one = one.merged(Moments.of(rng.exponential(1.0, 100)))
            other = other.merged(Moments.of(rng.exponential(1.0, 100)))
            low, high = difference([(one, other)], 0.1, burn_in=200, expected=4_000)
            assert (one.count < 200) == (low == -math.inf)
            if not low <= 0 <= high:
                wrong += 1
                break
    assert wrong <= 0.1 * 200
    assert half_width(1.0, 0, 0.05, 0.1) == math.inf
    # tightest near the count that it is made for
    widths = {at: half_width(1.0, 1_000, 0.05, prior_for(at, 0.05)) for at in (50, 1_000, 20_000)}
    assert min(widths, key=lambda at: widths[at]) == 1_000


def rising(rng, exp: Experiment, batches: int, **levels: float):
    """Equal arms of which all values rise while the ramp does, as from the night to the day."""
    state, decision, values = begin(exp), None, {}
    for k in range(batches):
        arms = rng.random(200) < exp.share * exp.ramp[state.step]
        values = {"bought": (rng.random(200) < 0.2).astype(float)}
        for name, level in levels.items():
            values[name] = rng.exponential(level * (1 + 4 * k / batches), 200)
        decision = decide(exp, state, arms, values)
        if decision.action != "continue":
            break
    return decision


@pytest.mark.parametrize("kind", ["mean", "quantile"])
def test_a_level_that_rises_while_the_ramp_does_tells_no_arms_apart(kind):
    """Of all entities of an arm the treatment's are later ones: it was rolled back nearly always."""
    rng, wrong = np.random.default_rng(12), 0
    of = Metric("cost", kind, "lower", q=0.9)
    exp = experiment(ramp=(0.05, 0.2, 1.0), step_entities=200, guardrails=(of,))
    for _ in range(40):
        decision = rising(rng, exp, 80, cost=10.0)
        wrong += (decision.action, decision.metric) == ("roll_back", "cost")
    assert wrong <= 3


def test_what_differs_in_each_step_is_found_on_a_ramp():
    rng, found = np.random.default_rng(13), []
    for kind, factor in (("mean", 1.5), ("quantile", 2.5)):
        exp = experiment(ramp=(0.5, 1.0), guardrails=(Metric("cost", kind, "lower", q=0.9),))
        decision, _ = run(exp, rng, 0.2, 0.2, cost=(10.0, 10.0 * factor))
        found.append((decision.action, decision.metric))
    assert found == [("roll_back", "cost")] * 2


def test_values_that_are_all_one_tell_nothing_of_what_is_seldom():
    """With no fault in 200 entities of each arm one that has 1 % of them was promoted as no worse."""
    exp = experiment(
        ramp=(1.0,),
        guardrails=(),
        primary=Metric("faults", "mean", "lower"),
        smallest=0.001,
        promote_if_not_worse=True,
    )
    state, arms = begin(exp), np.arange(1_000) % 2 == 0
    assert decide(exp, state, arms, {"faults": np.zeros(1_000)}).action == "continue"
    faults = np.where(arms, (np.arange(1_000) % 100 == 0).astype(float), 0.0)
    assert decide(exp, state, arms, {"faults": faults}).action != "promote"
    none = Moments.of(np.zeros(1_000))
    assert paired_difference(none, 0.05, burn_in=200, expected=4_000) == (-math.inf, math.inf)
    always = Moments.of(np.full(1_000, 0.1))
    low, high = paired_difference(always, 0.05, burn_in=200, expected=4_000)
    assert low == pytest.approx(0.1) == high


def test_a_state_from_before_steps_were_told_apart_goes_on():
    costs = (Metric("cost", "mean", "lower"), Metric("latency", "quantile", "lower"))
    exp = experiment(guardrails=costs)
    state = msgspec.to_builtins(begin(exp))
    both = [100, 10.0, 400.0, 5.0, 20.0, 0]
    state["guardrails"]["cost"] |= {"control": both, "treatment": both}
    del state["guardrails"]["cost"]["steps"], state["guardrails"]["latency"]["steps"]
    counts = [0] * (len(DURATIONS) - 1)
    state["guardrails"]["latency"] |= {"control": counts, "treatment": counts}
    known = msgspec.convert(state, ExperimentState)
    assert (known.guardrails["cost"].entities, known.guardrails["latency"].entities) == (200, 0)
    arms, of = np.arange(50) % 2 == 0, np.full(50, 12.0)
    decide(exp, known, arms, {"bought": np.ones(50), "cost": of, "latency": of})
    assert (known.guardrails["cost"].entities, known.guardrails["latency"].entities) == (250, 50)


def test_a_mismatch_of_shares_is_found_and_declared_shares_are_not():
    rng, wrong = np.random.default_rng(3), 0
    for _ in range(300):
        test = ShareTest()
        for n in rng.binomial(100, 0.5, size=40):
            test.add({"a": int(n), "b": 100 - int(n)}, {"a": 0.5, "b": 0.5})
        wrong += test.highest >= math.log(20)
    assert wrong <= 0.05 * 300
    test = ShareTest()
    for n in rng.binomial(100, 0.45, size=60):
        test.add({"a": int(n), "b": 100 - int(n)}, {"a": 0.5, "b": 0.5})
    before = test.highest
    assert before > math.log(1_000)
    assert test.add({"a": 1, "b": 99}, {"a": 0.01, "b": 0.99}) == before  # the ramp keeps what was found
    assert test.log_value == pytest.approx(test.before, abs=1.0)


def run(exp: Experiment, rng, usual: float, now: float, batches: int = 60, **more):
    state, decision = begin(exp), None
    for _ in range(batches):
        share = exp.share * exp.ramp[state.step]
        arms = rng.random(100) < share
        outcomes = {"bought": (rng.random(100) < np.where(arms, now, usual)).astype(float)}
        for name, (at, of) in more.items():
            outcomes[name] = rng.exponential(np.where(arms, of, at))
        decision = decide(exp, state, arms, outcomes)
        if decision.action != "continue":
            break
    return decision, state


FULL = experiment(ramp=(1.0,), guardrails=())


def test_harm_is_rolled_back_and_a_gain_promoted_with_the_evidence_named():
    rng = np.random.default_rng(4)
    for usual, now, action in ((0.2, 0.05, "roll_back"), (0.2, 0.4, "promote")):
        decision, _ = run(FULL, rng, usual, now)
        assert (decision.action, decision.metric) == (action, "bought")
        assert "betting evidence" in decision.evidence and decision.entities < 6_000


def test_equal_arms_are_seldom_judged_though_they_are_judged_always():
    rng = np.random.default_rng(5)
    wrong = sum(run(FULL, rng, 0.2, 0.2)[0].action != "continue" for _ in range(60))
    assert wrong <= 0.05 * 60 + 5 * math.sqrt(60 * 0.05 * 0.95)


def test_a_ramp_goes_on_without_harm_and_ends_at_the_last_step():
    exp = experiment(ramp=(0.5, 1.0), step_entities=300, guardrails=())
    decision, state = run(exp, np.random.default_rng(6), 0.2, 0.2, batches=30)
    assert (decision.action, decision.step, state.step) == ("continue", 1, 1)


def test_guardrails_shares_and_the_end_roll_back():
    rng = np.random.default_rng(7)
    slow = msgspec.structs.replace(FULL, guardrails=BASE.guardrails)
    decision, _ = run(slow, rng, 0.2, 0.2, latency=(20.0, 60.0))
    assert (decision.action, decision.metric) == ("roll_back", "latency") and "p95" in decision.evidence
    costs = msgspec.structs.replace(FULL, guardrails=(Metric("cost", "mean", "lower"),))
    decision, _ = run(costs, rng, 0.2, 0.2, cost=(10.0, 15.0))
    assert (decision.action, decision.metric) == ("roll_back", "cost")
    state = begin(FULL)
    for _ in range(20):
        bought = (rng.random(100) < 0.2).astype(float)
        decision = decide(FULL, state, np.arange(100) < 35, {"bought": bought})
    assert (decision.action, decision.metric) == ("roll_back", "shares")
    short = experiment(ramp=(1.0,), guardrails=(), most_entities=500)
    decision, _ = run(short, rng, 0.2, 0.2)
    assert (decision.action, decision.metric, decision.entities) == ("roll_back", "end", 500)
    no_worse = experiment(ramp=(1.0,), guardrails=(), smallest=0.2, promote_if_not_worse=True)
    assert run(no_worse, rng, 0.2, 0.2)[0].action == "promote"


def test_a_state_that_is_restored_decides_the_same_and_nothing_twice():
    exp = msgspec.structs.replace(FULL, guardrails=(*BASE.guardrails, Metric("cost", "mean", "lower")))
    one, other, rng = begin(exp), begin(exp), np.random.default_rng(8)
    for _ in range(40):
        arms = rng.random(100) < 0.5
        outcomes = {
            "bought": (rng.random(100) < np.where(arms, 0.05, 0.25)).astype(float),
            "latency": rng.exponential(20, 100),
            "cost": rng.normal(size=100),
        }
        other = msgspec.msgpack.decode(msgspec.msgpack.encode(other), type=ExperimentState)
        assert decide(exp, one, arms, outcomes) == decide(exp, other, arms, outcomes)
        assert msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)
    assert one.decided is not None and one.entities == one.decided.entities < 4_000


def test_evidence_that_does_not_fit_is_refused():
    arms, state = np.array([True, False]), begin(experiment(guardrails=BASE.guardrails))
    for outcomes in (
        {"latency": np.zeros(2)},
        {"bought": np.zeros(3)},
        {"bought": np.array([0.0, 1.5])},
        {"bought": np.array([0.0, math.inf])},
        {"bought": np.zeros(2), "latency": np.array([1.0, -1.0])},
    ):
        with pytest.raises(ExperimentError):
            decide(BASE, state, arms, outcomes)
    with pytest.raises(ExperimentError, match="share"):
        BettingTest().add(arms, np.zeros(2), 1.0)
