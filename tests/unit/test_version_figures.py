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

V3 = Version("wine", "forest", 3)


def of(figures: VersionFigures, version: Version) -> dict[str, int]:
    """Those that are known."""
    names = ("outcomes", "coverage_millionths", "accuracy_millionths", "mae_millionths")
    found = {name: figures.figure(version, name) for name in names}
    return {name.removesuffix("_millionths"): value for name, value in found.items() if value != -1}


def named(version: Version, *good: str) -> list[tuple[Version, str]]:
    return [(version, name) for name in ("outcomes", "coverage_millionths", *good)]


def test_what_is_told_again_counts_once_and_what_is_counted_elsewhere_not_at_all() -> None:
    figures = VersionFigures()
    others = [
        quality(1, 9, 9, window=0),
        quality(1, 9, 9, experiment="e", arm="a"),
        quality(1, 9, 9, model="", candidate="forest"),
        quality(1, 9, 9, model=""),
    ]
    new = figures.take([*others, quality(1, 1, 1, plan="a"), quality(1, 2, 0, plan="b")])
    assert new == named(V3, "accuracy_millionths")
    assert of(figures, V3) == {"outcomes": 4, "coverage": 500_000, "accuracy": 750_000}
    assert figures.take([quality(2, 3, 3, plan="a")]) == []
    assert of(figures, V3) == {"outcomes": 8, "coverage": 500_000, "accuracy": 625_000}


def test_errors_of_numbers_are_a_mean_and_what_is_not_known_is_minus_one() -> None:
    figures, sums = VersionFigures(), RegressionSums()
    key = QualityKey(data_type="house", model="line", version=1)
    line = Version("house", "line", 1)
    assert figures.take([quality_record(key, sums, 1, 1)]) == named(line, "mae_millionths")
    assert of(figures, line) == {"outcomes": 0}
    sums.add(np.array([1.0, 2.0]), np.array([1.5, 2.0]), 2)
    figures.take([quality_record(key, sums, 1, 2)])
    assert of(figures, line) == {"outcomes": 2, "coverage": 500_000, "mae": 250_000}
    sums.add(np.array([1e20]), np.array([0.0]))
    figures.take([quality_record(key, sums, 1, 3)])
    assert of(figures, line)["mae"] == 2**63 - 1


def test_what_is_judged_in_another_way_begins_anew_under_the_same_names() -> None:
    """What had been told of numbers was taken out of the classes; then the figures of numbers kept the names,
    which Flink gives out once, until the job was started again."""
    figures, sums = VersionFigures(), RegressionSums()
    sums.add(np.array([1.0, 2.0]), np.array([1.5, 2.0]), 2)
    numbers = quality_record(QualityKey(data_type="wine", model="forest", version=3), sums, 1, 1)
    assert figures.take([numbers]) == named(V3, "mae_millionths")
    assert figures.take([quality(1, 1, 0)]) == [(V3, "accuracy_millionths")]
    assert of(figures, V3) == {"outcomes": 1, "coverage": 500_000, "accuracy": 1_000_000}
    assert figures.take([numbers]) == []
    assert of(figures, V3) == {"outcomes": 2, "coverage": 500_000, "mae": 250_000}


def test_versions_are_bounded_and_the_highest_of_those_that_come_at_once_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(version_figures, "MOST_VERSIONS", 2)
    figures = VersionFigures()
    new = figures.take([quality(1, 1, 1, version) for version in (3, 5, 4)])
    assert [one.version for one in dict(new)] == [5, 4]
    assert figures.take([quality(1, 1, 1, 6), quality(2, 2, 2, 5)]) == []
    assert of(figures, new[0][0])["outcomes"] == 4
