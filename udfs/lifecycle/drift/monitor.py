"""One window after the other against the training set, asked as often as one likes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import StatisticsError
from udfs.lifecycle.drift.distances import Bounds, bounds, observed
from udfs.lifecycle.drift.reference import Reference, vector
from udfs.lifecycle.drift.settings import DriftSettings
from udfs.lifecycle.evidence.multiple import e_bh, log_e_of_levels
from udfs.lifecycle.statistics.feature import FeatureStatistics
from udfs.lifecycle.statistics.table import TableStatistics

_LEVELS = 8
_COMMON = "jensen_shannon"
"""The distance in which features' parts of a change are told: in bits, of numbers and of texts alike."""


class FeatureDrift(msgspec.Struct, frozen=True):
    """A feature that is farther from its training set than tolerated.

    `at_least` are the lower bounds and `observed` the plain distances. `distance` is the one that is farthest
    above its tolerance. `share`: this feature's part of the change, in [0, 1]: of the observed Jensen-Shannon
    divergences of all alarms of the window, whose shares add up to 1. `direction` of the shift or the mean
    rank: "up", "down", or "" where only the shape is known to have changed. `since`: event time in ms, the
    start of the first of the windows in a row in which it drifted.
    """

    feature: str
    distance: str
    at_least: dict[str, float]
    observed: dict[str, float]
    tolerance: float
    direction: str
    share: float
    since: int


class DriftMonitor:
    """Compares windows with the training set. Raises `StatisticsError` for a training set without records.

    Its state is `since`, by feature: keep it beside the window's counts, and give it back after a restart.
    """

    def __init__(
        self, training: TableStatistics, settings: DriftSettings, since: Mapping[str, int] | None = None
    ) -> None:
        self.since = dict(since or {})
        self._settings, self._training = settings, training
        groups: dict[tuple[int, bool], list[tuple[str, FeatureStatistics]]] = defaultdict(list)
        for name, feature in training.features.items():
            groups[len(vector(feature)), not feature.bins.categories].append((name, feature))
        self._references = [Reference.of(group) for group in groups.values()]

    def judge(self, window: TableStatistics, start: int, *, closed: bool = False) -> list[FeatureDrift]:
        """The features that drift, by name, from what was counted of the window so far.

        `start`: of the window, event time in ms. `closed`: the window is complete, and a feature that does
        not drift in it has stopped drifting. Raises `StatisticsError` where it was counted in other bins.
        """
        if not self._references:  # nothing is compared
            return []
        counted = [(reference, self._counts(reference, window)) for reference in self._references]
        drifting = self._drifting(counted, closed)
        found: list[FeatureDrift] = []
        for reference, counts in counted:
            near, far = self._bounds(reference, counts, closed), observed(reference, counts)
            for i, name in enumerate(reference.names):
                if name in drifting:
                    found.append(self._said(reference, i, near, far, start))
        if closed:
            alarmed = {one.feature for one in found}
            # a later window, which is still open, may have begun to drift
            self.since = {name: at for name, at in self.since.items() if name in alarmed or at > start}
        total = sum(one.observed[_COMMON] for one in found) or 1.0
        shared = [msgspec.structs.replace(one, share=one.observed[_COMMON] / total) for one in found]
        return sorted(shared, key=lambda one: one.feature)

    def _counts(self, reference: Reference, window: TableStatistics) -> NDArray[np.int64]:
        rows = np.zeros(reference.shares.shape, np.int64)
        for i, name in enumerate(reference.names):
            if (feature := window.features.get(name)) is None:
                rows[i, 0] = window.rows
            elif feature.bins != self._training.features[name].bins:
                raise StatisticsError(
                    f"{name!r} was counted in other bins than its training set: count in the training set's"
                )
            else:
                rows[i] = vector(feature)
        return rows

    def _bounds(
        self, reference: Reference, counts: NDArray[np.int64], closed: bool, factor: float = 1.0
    ) -> Bounds:
        alpha = min(self._settings.false_alarms * factor / len(self._training.features), 0.5)
        return bounds(reference, counts, alpha, self._settings.window, closed=closed)

    def _excess(self, near: Bounds) -> NDArray[np.bool_]:
        above = [near.distances[name] > limit for name, limit in self._settings.tolerance.items()]
        return np.logical_or.reduce(above) if above else np.zeros(len(near.rank), bool)

    def _drifting(self, counted: list[tuple[Reference, NDArray[np.int64]]], closed: bool) -> set[str]:
        names = [name for reference, _ in counted for name in reference.names]
        if self._settings.correction == "bonferroni":
            levels = [1.0]
        else:  # from Bonferroni's level, which one alarm alone needs, to that of alarms for all
            count = min(_LEVELS, len(names))
            levels = (np.geomspace(1, len(names), count) / count).tolist()
        rejected = np.stack(
            [
                np.concatenate([self._excess(self._bounds(*one, closed, level)) for one in counted])
                for level in levels
            ],
            axis=1,
        )
        if self._settings.correction == "bonferroni":
            fallen = rejected[:, 0]
        else:
            alpha = self._settings.false_alarms
            log_e = log_e_of_levels(rejected, np.minimum(np.array(levels) * alpha / len(names), 0.5))
            fallen = e_bh(log_e, alpha)
        return {name for name, fell in zip(names, fallen.tolist(), strict=True) if fell}

    def _said(
        self, reference: Reference, i: int, near: Bounds, far: dict[str, NDArray], start: int
    ) -> FeatureDrift:
        limits = self._settings.tolerance
        since = self.since[reference.names[i]] = min(self.since.get(reference.names[i], start), start)
        distance = max(limits, key=lambda name: float(near.distances[name][i]) - limits[name])
        name, way = reference.names[i], float(near.shift[i]) or float(near.rank[i])
        return FeatureDrift(
            feature=name,
            distance=distance,
            at_least={d: float(v[i]) for d, v in near.distances.items()},
            observed={d: float(v[i]) for d, v in far.items()},
            tolerance=limits[distance],
            direction="up" if way > 0 else "down" if way < 0 else "",
            share=1.0,
            since=since,
        )
