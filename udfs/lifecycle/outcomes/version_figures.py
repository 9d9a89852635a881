"""A few figures of each model version since the start, as whole numbers, for a system that watches jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from schemas.lifecycle.quality import ALL, Kind, QualityRecord

MOST_VERSIONS = 100
"""Of one instance. What is registered as a metric of Flink stays there until the job ends."""
_WHOLE = 1_000_000
_HIGHEST = 2**63 - 1
_RIGHT = ("true_positives", "true_negatives")
_JUDGED = (*_RIGHT, "false_positives", "false_negatives")
Figure = Literal["outcomes", "coverage_millionths", "accuracy_millionths", "mae_millionths"]


class Version(NamedTuple):
    data_type: str
    model: str
    version: int


class _Sums(NamedTuple):
    """`good`: right predictions, or of numbers the sum of absolute errors."""

    predictions: float = 0
    outcomes: float = 0
    good: float = 0


class VersionFigures:
    """Adds up what is told of quality, over plans and slices: the newest of each key counts.

    Candidates and experiments are left out, as these are counted once more. Of a version that was judged in
    two ways, as after settings have changed, the figures are those of the one that was told of last. Beyond
    `MOST_VERSIONS` those are passed over that come last, and of what comes at once the lower versions.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[Version, Kind, str], _Sums] = {}
        self._whole: dict[tuple[Version, Kind], _Sums] = {}
        self._kinds: dict[Version, Kind] = {}
        self._named: set[tuple[Version, Figure]] = set()

    def take(self, records: Iterable[QualityRecord]) -> list[tuple[Version, Figure]]:
        """The figures that are new, by their names."""
        new: list[tuple[Version, Figure]] = []
        for told in sorted(records, key=lambda one: (-one.version, one.at)):
            if told.window != ALL or told.experiment or told.candidate or not told.model:
                continue
            version, kind = Version(told.data_type, told.model, told.version), told.kind
            if version not in self._kinds and len(self._kinds) >= MOST_VERSIONS:
                continue
            self._kinds[version] = kind
            good: Figure = "mae_millionths" if kind == "numbers" else "accuracy_millionths"
            names: tuple[Figure, ...] = ("outcomes", "coverage_millionths", good)
            unnamed = [(version, name) for name in names if (version, name) not in self._named]
            self._named.update(unnamed)
            new += unnamed
            before, now = self._told.get((version, kind, told.key), _Sums()), _sums_of(told)
            whole = self._whole.get((version, kind), _Sums())
            added = (w + n - b for w, n, b in zip(whole, now, before, strict=True))
            self._told[version, kind, told.key], self._whole[version, kind] = now, _Sums(*added)
        return new

    def figure(self, version: Version, name: Figure) -> int:
        """`outcomes`: predictions whose outcome is known; `coverage_millionths`: their share among all;
        `accuracy_millionths`, or of numbers `mae_millionths`, the mean absolute error. -1: not known, as what
        is not of the kind that the version is judged by now."""
        kind = self._kinds[version]
        sums = self._whole[version, kind]
        if name == "outcomes":
            return int(sums.outcomes)
        if name == "coverage_millionths":
            return _millionths(sums.outcomes, sums.predictions)
        fits = (name == "mae_millionths") is (kind == "numbers")
        return _millionths(sums.good, sums.outcomes) if fits else -1


def _sums_of(told: QualityRecord) -> _Sums:
    sums: dict[str, Any] = told.sums
    if told.kind == "numbers":
        return _Sums(sums["predictions"], sums["outcomes"], sums["absolute"])
    if told.kind == "classes":
        right, judged = (sum(sums[name] for name in names) for names in (_RIGHT, _JUDGED))
        return _Sums(sums["predictions"], judged, right)
    rows = sums["confusion"]
    right = sum(count for said, came, count in rows if said == came)
    return _Sums(sums["predictions"], sum(count for *_, count in rows), right)


def _millionths(part: float, whole: float) -> int:
    return min(round(part * _WHOLE / whole), _HIGHEST) if whole else -1
