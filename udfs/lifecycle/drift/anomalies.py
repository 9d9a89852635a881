"""What is not a matter of chance: fields that are missing, new, of another type, or out of range.

An anomaly says how many records of the window show it; from how many on it is reported is declared.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import Literal

import msgspec

from schemas.errors import SettingsError
from udfs.lifecycle.statistics.feature import FeatureStatistics
from udfs.lifecycle.statistics.table import TableStatistics

_MOST_NAMED = 50
_LONGEST = 500
Kind = Literal["missing", "new_field", "type", "range", "new_categories"]


class AnomalySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`least`: records from which on an anomaly is reported. `missing`: the share of missing values above the
    training set's that is one. `margin`: how far out of the training range a number may lie, as a share of
    it.
    """

    least: int = 1
    missing: float = 0.05
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.least < 1 or not 0 <= self.missing <= 1 or self.margin < 0:
            raise SettingsError(
                "anomalies: least is 1 or more, missing from 0 to 1, margin from 0 up; they are "
                f"{self.least}, {self.missing} and {self.margin}"
            )


class Anomaly(msgspec.Struct, frozen=True):
    """`records`: how many of the window show it; of "range" at least so many, as the bins, the mean, the
    smallest and the largest number let it be known; of fields without a name at most so many."""

    feature: str
    kind: Kind
    records: int
    detail: str


def anomalies(
    training: TableStatistics, window: TableStatistics, settings: AnomalySettings | None = None
) -> list[Anomaly]:
    """The anomalies of a window, by feature and kind. A window of no records has none."""
    rules = settings or AnomalySettings()
    if not window.rows:
        return []
    found = _new_fields(training, window, rules)
    for name, known in training.features.items():
        here = window.features.get(name) or FeatureStatistics(rows=window.rows, absent=window.rows)
        found += _missing(name, known, here, rules)
        found += _types(name, known, here)
        found += _range(name, known, here, rules)
        found += _categories(name, known, here)
    return sorted((one for one in found if one.records >= rules.least), key=lambda one: one.feature)


def _new_fields(training: TableStatistics, window: TableStatistics, rules: AnomalySettings) -> list[Anomaly]:
    """Those that most records have by name, where there are many, and all others as one without a name."""
    new = {
        name: here.rows - here.absent
        for name, here in window.features.items()
        if name not in training.features and here.rows - here.absent >= rules.least
    }
    named = sorted(new, key=lambda name: -new[name])[:_MOST_NAMED]
    found = [Anomaly(name, "new_field", new[name], "the training set does not have it") for name in named]
    values = window.others + sum(new.values()) - sum(one.records for one in found)
    if values:
        text = f"{values} values of other fields, too many to name, that the training set does not have"
        found.append(Anomaly("", "new_field", min(values, window.rows), text))
    return found


def _missing(
    name: str, known: FeatureStatistics, here: FeatureStatistics, rules: AnomalySettings
) -> list[Anomaly]:
    usual = known.missing / known.rows if known.rows else 0.0
    share = here.missing / here.rows
    if share - usual <= rules.missing:
        return []
    return [Anomaly(name, "missing", here.missing, f"missing in {share:.1%}, in training in {usual:.1%}")]


def _types(name: str, known: FeatureStatistics, here: FeatureStatistics) -> list[Anomaly]:
    before, now = _kinds(known), _kinds(here)
    had = [kind for kind, count in before.items() if count]
    odd = {kind: count for kind, count in now.items() if count and kind not in had}
    if not known.rows or not odd:
        return []
    text = f"{', '.join(odd)}, where training has {', '.join(had) or 'no value'}"
    return [Anomaly(name, "type", sum(odd.values()), text)]


def _kinds(feature: FeatureStatistics) -> dict[str, int]:
    return {
        "numbers": feature.numbers.count + feature.infinite,
        "texts": feature.texts,
        "flags": feature.flags,
        "lists or objects": feature.nested,
    }


def _range(
    name: str, known: FeatureStatistics, here: FeatureStatistics, rules: AnomalySettings
) -> list[Anomaly]:
    if not known.numbers.count:
        return []
    low, high = known.numbers.least, known.numbers.most
    margin = (high - low) * rules.margin if rules.margin else 0.0  # the range may be infinite
    below, above = _beyond(here, low - margin, -1), _beyond(here, high + margin, 1)
    records = below + above + (0 if known.infinite else here.infinite)
    if not records:
        return []
    ends = [f"{here.numbers.least:g}"] * bool(below) + [f"{here.numbers.most:g}"] * bool(above)
    seen = ", ".join(ends) or "infinity"
    return [Anomaly(name, "range", records, f"{seen} is outside of {low:g} to {high:g}")]


def _beyond(here: FeatureStatistics, limit: float, sign: int) -> int:
    """Of the finite numbers, how many at least are above the limit, or with -1 below it.

    The largest one is, and so is all that lies in bins above the limit. What is not above it adds to the sum
    of all numbers no more than the upper ends of its bins, and the limit: what the sum is beyond that comes
    from numbers above, of which none adds more than the largest.
    """
    numbers, edges, counts = here.numbers, list(here.bins.edges), here.number_counts.tolist()
    mean, least, most = numbers.mean, numbers.least, numbers.most
    if sign < 0:
        edges, counts = [-edge for edge in reversed(edges)], counts[::-1]
        mean, least, most, limit = -mean, -most, -least, -limit
    if not numbers.count or most <= limit:
        return 0
    if least > limit:
        return numbers.count
    # a number at an edge lies in the bin below it, which turned around is the one above
    first = 1 + (bisect_left(edges, limit) if sign > 0 else bisect_right(edges, limit))
    found = max(1, sum(counts[first:]) - here.infinite)
    if not here.infinite:
        inside = sum(n * min(end, limit) for n, end in zip(counts, [*edges, limit], strict=True))
        rounding = 1e-12 * numbers.count * max(abs(least), abs(most))
        by_sum = (mean * numbers.count - inside - rounding) / (most - limit)
        found = max(found, math.ceil(by_sum)) if math.isfinite(by_sum) else found
    return min(found, numbers.count)


def _categories(name: str, known: FeatureStatistics, here: FeatureStatistics) -> list[Anomaly]:
    """Only where every text of the training set has a bin, so that what falls into none is new."""
    if not known.bins.categories or known.text_counts[-1]:
        return []
    if here.bins != known.bins or not (records := int(here.text_counts[-1])):
        return []
    new = [text for text, _ in here.frequent.top(50) if text not in known.bins.categories][:5]
    return [
        Anomaly(name, "new_categories", records, ", ".join(map(repr, new))[:_LONGEST] or "many rare ones")
    ]
