"""The simulations run the code that decides, and print one line of JSON last."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from prove.canary import canary, fixed_size
from prove.drift import EDGES, FEATURES, _found, _reference, more_than, most_of
from udfs.lifecycle.drift.settings import DriftSettings


def test_a_fixed_size_test_has_the_power_that_its_size_is_for():
    each, rng = fixed_size(0.20, 0.12, 0.025, 0.95) // 2, np.random.default_rng(1)
    a, b = rng.binomial(each, 0.20, 4_000) / each, rng.binomial(each, 0.12, 4_000) / each
    z = (a - b) / np.sqrt((a * (1 - a) + b * (1 - b)) / each)
    assert (z > 1.96).mean() == pytest.approx(0.95, abs=0.02)


def test_a_few_canaries_are_judged(capsys):
    figures = canary(5, 0)
    assert figures["harmful_rolled_back"] == 1 and figures["better_promoted"] == 1
    assert figures["late_outcomes_harmful_rolled_back"] == 1 and figures["late_outcomes_null_wrong"] == 0
    treated = figures["late_outcomes_harmful_median_treated"]
    assert treated is not None and treated > (figures["harmful_on_a_ramp_median_treated"] or 0)
    assert 0 <= figures["null_wrong"] <= 1 and "harmful_median_entities" in capsys.readouterr().out


def test_a_shift_is_named_and_nothing_else():
    rng = np.random.default_rng(2)
    even = np.full(len(EDGES) + 1, 1 / (len(EDGES) + 1))
    known = _reference(rng.multinomial(1_000_000, even, size=FEATURES))
    counts = rng.multinomial(20_000, even, size=FEATURES)
    counts[3] = np.histogram(rng.normal(size=20_000) + 0.2, [-math.inf, *EDGES, math.inf])[0]
    assert np.flatnonzero(_found(known, counts, DriftSettings())).tolist() == [3]


def test_how_many_false_alarms_the_stated_rate_allows():
    alarms = np.random.default_rng(3).binomial(1_000, 0.0005, 200_000)
    for count in (0, 1, 2, 3):
        assert more_than(count, 1_000, 0.0005) == pytest.approx((alarms > count).mean(), abs=0.003)
    assert more_than(1, 1_000, 0.0005) == pytest.approx(0.0902, abs=1e-4)
    assert [most_of(n, 0.0005, 0.01) for n in (10, 1_000, 10_000)] == [0, 3, 11]
    assert most_of(1_000, DriftSettings().false_alarms, 0.01) == 1


def test_the_last_line_is_json():
    command = [sys.executable, "-m", "prove", "canary", "--runs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout.splitlines()[-1])["experiments"] == 1
    assert subprocess.run([*command[:-1], "0"], capture_output=True, check=False).returncode == 2
