"""Single records that are told of, by declared rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from schemas.errors import SettingsError
from udfs.lifecycle.statistics.table import TableStatistics


class OutlierRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record breaks the rule whose number in `feature` is below `low`, above `high`, or more than
    `deviations` standard deviations from the training mean. Values that are no numbers break none."""

    feature: str
    low: float = -math.inf
    high: float = math.inf
    deviations: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise SettingsError(f"a rule for {self.feature!r} has low {self.low} and high {self.high}")
        if self.deviations is not None and not self.deviations > 0:
            raise SettingsError(
                f"a rule for {self.feature!r} has {self.deviations} deviations: give more than 0"
            )

    @property
    def name(self) -> str:
        return self.feature

    def bounds(self, training: TableStatistics | None) -> tuple[float, float]:
        """What a number must lie in. Without a training set `deviations` says nothing."""
        known = training.features.get(self.feature) if training is not None else None
        if self.deviations is None or known is None or not known.numbers.count:
            return self.low, self.high
        middle, off = known.numbers.mean, self.deviations * known.numbers.deviation
        return max(self.low, middle - off), min(self.high, middle + off)


def breaking(
    records: Sequence[Mapping[str, Any]], feature: str, bounds: tuple[float, float]
) -> list[tuple[int, float]]:
    """Of the records that break a rule, the index and the number."""
    low, high = bounds
    found = []
    for at, record in enumerate(records):
        value = record.get(feature)
        if isinstance(value, (float, int)) and type(value) is not bool and not low <= value <= high:
            found.append((at, value))
    return found
