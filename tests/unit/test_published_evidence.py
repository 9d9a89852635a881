"""Our evidence beside that of `ville`, a published package: where formulas are the same the numbers are, and
where they differ both find, and do not find, about as much."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.own_environment import python_with
from udfs.lifecycle.evidence.asymptotic import difference, half_width
from udfs.lifecycle.evidence.bernstein import log_evidence, radius, rate_for
from udfs.lifecycle.evidence.betting import BettingTest
from udfs.lifecycle.evidence.multiple import e_bh
from udfs.lifecycle.evidence.quantiles import PRIOR_WEIGHT, log_mixture, quantile_interval
from udfs.lifecycle.evidence.share_mismatch import PRIOR_WEIGHT as ENTITIES
from udfs.lifecycle.evidence.share_mismatch import ShareTest
from udfs.lifecycle.statistics.moments import Moments

ALPHA = 0.05


@pytest.fixture(scope="module")
def ville() -> Iterator[Any]:
    """The package; numpy and scipy, which it needs, are those that are here."""
    site = next((python_with("ville", "ville==0.1.0").parents[1] / "lib").glob("python*/site-packages"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(site)])
        yield importlib.import_module("ville")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_asymptotic_sequences_have_the_same_width(rng, ville):
    x = rng.exponential(size=3_000)
    theirs = ville.AsymptoticCS(alpha=ALPHA, t_opt=1_000).fit(x)
    for count in (100, 500, 3_000):
        moments = Moments.of(x[:count])
        deviation = math.sqrt(moments.squares / (count - 1))
        ours = half_width(deviation, count, ALPHA, 1 / theirs.rho_)
        assert ours == pytest.approx((theirs.upper_ - theirs.lower_)[count - 1] / 2, rel=1e-9)


def test_shares_and_counts_below_a_quantile_have_the_same_evidence(rng, ville):
    x = (rng.random(2_000) < 0.33).astype(float)
    shares = ville.BernoulliTest(0.3, prior=(ENTITIES * 0.3, ENTITIES * 0.7)).fit(x)
    below = ville.BernoulliTest(0.3, prior=(PRIOR_WEIGHT * 0.3, PRIOR_WEIGHT * 0.7)).fit(x)
    test = ShareTest()
    for start in range(0, 2_000, 100):
        treated = int(x[start : start + 100].sum())
        test.add({"control": 100 - treated, "treatment": treated}, {"control": 0.7, "treatment": 0.3})
        seen = start + 100
        assert test.log_value == pytest.approx(shares.log_e_values_[seen - 1], abs=1e-8)
        found = log_mixture(int(x[:seen].sum()), seen, 0.3)
        assert found == pytest.approx(below.log_e_values_[seen - 1], abs=1e-8)


def test_e_bh_rejects_the_same(rng, ville):
    for _ in range(50):
        log_e = rng.normal(1, 3, 200)
        assert (e_bh(log_e, 0.1) == ville.evalues.ebh(np.exp(log_e), 0.1)).all()


@pytest.mark.parametrize(("treated_rate", "most"), [(0.12, 1.15), (0.20, math.inf)])
def test_betting_on_two_arms_stops_about_as_soon_and_as_seldom(rng, ville, treated_rate, most):
    """Theirs bets both ways at `ALPHA`, so ours on harm has half of it. Without a difference neither may
    stop in more than 5 % of runs; with one the median of entities must be near theirs."""
    runs, entities, batch = 40, 2_500, 50
    ours, theirs = [], []
    for _ in range(runs):
        treated = rng.random(entities) < 0.5
        x = (rng.random(entities) < np.where(treated, treated_rate, 0.20)).astype(float)
        test, stopped = BettingTest(1, 0.0), math.inf
        for start in range(0, entities, batch):
            part = slice(start, start + batch)
            if test.add(treated[part], x[part], 0.5) >= -math.log(ALPHA / 2):
                stopped = start + batch
                break
        ours.append(stopped)
        one = ville.BettingABTest(alpha=ALPHA, grid=401).fit(x, treated.astype(float))
        theirs.append(one.stopping_time() or math.inf)
    if math.isinf(most):
        assert max(np.isfinite(ours).mean(), np.isfinite(theirs).mean()) <= 0.05 + 1 / runs
    else:
        assert np.median(ours) <= most * np.median(theirs)


def test_differences_of_arms_lie_in_intervals_of_the_same_width(rng, ville):
    treated = rng.random(20_000) < 0.5
    x = rng.exponential(np.where(treated, 1.2, 1.0))
    theirs = ville.AsymptoticABTest(alpha=ALPHA, t_opt=5_000).fit(x, treated.astype(float))
    arms = Moments.of(x[~treated]), Moments.of(x[treated])
    low, high = difference([arms], ALPHA, burn_in=100, expected=5_000)
    assert (low + high) / 2 == pytest.approx(theirs.estimate_[-1], abs=0.01)
    assert high - low == pytest.approx(theirs.upper_[-1] - theirs.lower_[-1], rel=0.05)


def test_bernstein_bounds_are_about_as_tight_and_hold(rng, ville):
    """A constant guess and rate, which make it a function of sums, cost little where it is tuned for."""
    count, alpha, missed, ratios = 5_000, 0.05, 0, []
    for _ in range(100):
        x = rng.beta(2, 8, count)
        sums, squares = np.cumsum(x - 0.2), np.cumsum((x - 0.2) ** 2)
        rate = rate_for(math.log(2 / alpha), count * 0.16 / 11)
        missed += bool((log_evidence(np.abs(sums), squares, rate) >= math.log(2 / alpha)).any())
        ours = radius(math.log(2 / alpha), squares[-1], count, rate)
        theirs = ville.EmpiricalBernsteinCS(alpha=alpha, intersect=False).fit(x)
        ratios.append(float(ours) / ((theirs.upper_[-1] - theirs.lower_[-1]) / 2))
    assert missed <= 9  # of 100 at 5 %: more in 3 %
    assert np.median(ratios) < 1.0


def test_quantiles_of_latencies_lie_in_narrower_intervals_that_cover_the_same_value(rng, ville):
    x = rng.gamma(2.0, 5.0, 3_000)
    theirs = ville.QuantileCS(q=0.9, alpha=ALPHA, t_opt=2_000, intersect=False).fit(x)
    ends = np.concatenate([[0.0], np.geomspace(0.1, 600, 4_000), [np.inf]])
    counts = np.histogram(x, ends)[0].astype(np.int64)
    low, high = quantile_interval(counts, ends, 0.9, ALPHA)
    true = 19.45  # of the gamma distribution
    assert low < true < high and theirs.lower_[-1] < true < theirs.upper_[-1]
    assert high - low < theirs.upper_[-1] - theirs.lower_[-1]
