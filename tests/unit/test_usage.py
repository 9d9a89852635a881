"""Counts and quantiles of a model's use."""

from __future__ import annotations

import pytest

from udfs.models.loaded_model import ModelStamp
from udfs.serving.usage import Usage


def usage() -> Usage:
    return Usage(ModelStamp("n", 4, "d" * 64, "t", "PMML", "says", 0), 7)


def test_a_model_that_was_not_used_has_statistics_of_zeros():
    made = usage()
    assert made.changed()  # that it serves is news
    stats = made.stats()
    assert (stats.usage, stats.batches, stats.failures, stats.duration_ms) == (0, 0, 0, 0.0)
    assert (stats.min_ms, stats.p50_ms, stats.p99_ms, stats.max_ms) == (0.0, 0.0, 0.0, 0.0)
    assert not made.changed()


def test_batches_add_up():
    made = usage()
    for k in range(1, 101):
        made.add(10, k % 2, float(k))
    assert made.changed()
    stats = made.stats(serving=False)
    assert (stats.usage, stats.batches, stats.failures) == (1000, 100, 50)
    assert stats.duration_ms == pytest.approx(5050)
    assert (stats.min_ms, stats.max_ms) == (1.0, 100.0)
    assert stats.p50_ms == pytest.approx(50, abs=3) and stats.p99_ms == pytest.approx(99, abs=3)
    assert stats.since <= stats.at and not stats.serving
    assert (stats.name, stats.version, stats.digest, stats.model_type) == ("n", 4, "d" * 64, "PMML")
    assert (stats.description, stats.key) == ("says", "t/n/4/7")
    assert not made.changed()


def test_the_sketch_stays_small_and_close_over_many_blocks():
    made = usage()
    for k in range(100_000):
        made.add(1, 0, (k * 7919) % 100_000 / 1000)
    stats = made.stats()
    assert stats.p50_ms == pytest.approx(50, abs=3) and stats.p99_ms == pytest.approx(99, abs=1)
