"""A few figures of each model version since the start, as whole numbers, for a system that watches jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from schemas.lifecycle.quality import ALL, QualityRecord

MOST_VERSIONS = 100
"""Of one instance. What is registered as a metric of Flink stays there until the job ends."""
_WHOLE = 1_000_000
_HIGHEST = 2**63 - 1
_RIGHT = ("true_positives", "true_negatives")
_JUDGED = (*_RIGHT, "false_positives", "false_negatives")


class Version(NamedTuple):
    data_type: str
    model: str
    version: int
    kind: str


class _Sums(NamedTuple):
    """`good`: right predictions, or of numbers the sum of absolute errors."""

    predictions: float = 0
    outcomes: float = 0
    good: float = 0


class VersionFigures:
    """Adds up what is told of quality, over plans and slices: the newest of each key counts.

    Candidates and experiments are left out, as these are counted once more. Beyond `MOST_VERSIONS` those are
    passed over that come last, and of what comes at once the lower versions.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[Version, str], _Sums] = {}
        self._whole: dict[Version, _Sums] = {}

    def take(self, records: Iterable[QualityRecord]) -> list[Version]:
        """The versions that are new."""
        new = []
        for told in sorted(records, key=lambda one: -one.version):
            if told.window != ALL or told.experiment or told.candidate or not told.model:
                continue
            version = Version(told.data_type, told.model, told.version, told.kind)
            if version not in self._whole:
                if len(self._whole) >= MOST_VERSIONS:
                    continue
                new.append(version)
            before, now = self._told.get((version, told.key), _Sums()), _sums_of(told)
            whole = self._whole.get(version, _Sums())
            added = (w + n - b for w, n, b in zip(whole, now, before, strict=True))
            self._told[version, told.key], self._whole[version] = now, _Sums(*added)
        return new

    def outcomes(self, version: Version) -> int:
        """Predictions whose outcome is known."""
        return int(self._whole[version].outcomes)

    def coverage(self, version: Version) -> int:
        """The share of these among all predictions, in millionths; -1 where there are none."""
        sums = self._whole[version]
        return _millionths(sums.outcomes, sums.predictions)

    def goodness(self, version: Version) -> int:
        """Accuracy, or of numbers the mean absolute error, in millionths; -1 where nothing is known."""
        sums = self._whole[version]
        return _millionths(sums.good, sums.outcomes)


def _sums_of(told: QualityRecord) -> _Sums:
    sums: dict[str, Any] = told.sums
    if told.kind == "numbers":
        return _Sums(sums["predictions"], sums["outcomes"], sums["absolute"])
    if told.kind == "multiclass":
        rows = sums["confusion"]
        right = sum(count for said, came, count in rows if said == came)
        return _Sums(sums["predictions"], sum(count for *_, count in rows), right)
    right, judged = (sum(sums[name] for name in names) for names in (_RIGHT, _JUDGED))
    return _Sums(sums["predictions"], judged, right)


def _millionths(part: float, whole: float) -> int:
    return min(round(part * _WHOLE / whole), _HIGHEST) if whole else -1
