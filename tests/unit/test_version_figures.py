"""Figures of model versions for those who watch jobs: sums over plans, the newest of each, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from tests.registered import quality
from udfs.lifecycle.outcomes import version_figures
from udfs.lifecycle.outcomes.version_figures import Version, VersionFigures
from udfs.lifecycle.quality.exchange import quality_record
from udfs.lifecycle.quality.regression import RegressionSums
from udfs.lifecycle.quality.windows import QualityKey

V3 = Version("wine", "forest", 3, "classes")


def test_what_is_told_again_counts_once_and_what_is_counted_elsewhere_not_at_all() -> None:
    figures = VersionFigures()
    others = [
        quality(1, 9, 9, window=0),
        quality(1, 9, 9, experiment="e", arm="a"),
        quality(1, 9, 9, model="", candidate="forest"),
        quality(1, 9, 9, model=""),
    ]
    assert figures.take([*others, quality(1, 1, 1, plan="a"), quality(1, 2, 0, plan="b")]) == [V3]
    assert (figures.outcomes(V3), figures.coverage(V3), figures.goodness(V3)) == (4, 500_000, 750_000)
    assert figures.take([quality(2, 3, 3, plan="a")]) == []
    assert (figures.outcomes(V3), figures.goodness(V3)) == (8, 625_000)


def test_errors_of_numbers_are_a_mean_and_what_is_not_known_is_minus_one() -> None:
    figures, sums = VersionFigures(), RegressionSums()
    key = QualityKey(data_type="house", model="line", version=1)
    (line,) = figures.take([quality_record(key, sums, 1, 1)])
    assert (figures.outcomes(line), figures.coverage(line), figures.goodness(line)) == (0, -1, -1)
    sums.add(np.array([1.0, 2.0]), np.array([1.5, 2.0]), 2)
    figures.take([quality_record(key, sums, 1, 2)])
    assert (figures.outcomes(line), figures.coverage(line), figures.goodness(line)) == (2, 500_000, 250_000)
    sums.add(np.array([1e20]), np.array([0.0]))
    figures.take([quality_record(key, sums, 1, 3)])
    assert figures.goodness(line) == 2**63 - 1


def test_what_is_judged_in_another_way_begins_anew() -> None:
    """What had been told of numbers was taken out of the classes."""
    figures, sums = VersionFigures(), RegressionSums()
    sums.add(np.array([1.0, 2.0]), np.array([1.5, 2.0]), 2)
    figures.take([quality_record(QualityKey(data_type="wine", model="forest", version=3), sums, 1, 1)])
    assert figures.take([quality(1, 1, 0)]) == [V3]
    assert (figures.outcomes(V3), figures.coverage(V3), figures.goodness(V3)) == (1, 500_000, 1_000_000)


def test_versions_are_bounded_and_the_highest_of_those_that_come_at_once_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(version_figures, "MOST_VERSIONS", 2)
    figures = VersionFigures()
    new = figures.take([quality(1, 1, 1, version) for version in (3, 5, 4)])
    assert [one.version for one in new] == [5, 4]
    assert figures.take([quality(1, 1, 1, 6), quality(2, 2, 2, 5)]) == []
    assert figures.outcomes(new[0]) == 4
