"""What is an alarm."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from schemas.errors import SettingsError

DISTANCES = ("ks", "wasserstein", "jensen_shannon", "chi_squared", "shift")


class DriftSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tolerances by distance, in the units of `udfs.lifecycle.drift.distances`; a distance without one is
    reported and raises no alarm.

    `false_alarms`: with `bonferroni`, the probability that a window in which no feature is farther than
    tolerated raises any alarm, asked as often as one likes; with `e-bh`, the share of false ones among the
    alarms of a window, at most, in expectation. `window`: records of a window, which the test is tuned for.
    """

    tolerance: dict[str, float] = msgspec.field(default_factory=lambda: dict.fromkeys(DISTANCES, 0.0))
    false_alarms: float = 0.00014
    correction: Literal["bonferroni", "e-bh"] = "bonferroni"
    window: int = 20_000

    def __post_init__(self) -> None:
        for name, value in self.tolerance.items():
            if name not in DISTANCES:
                raise SettingsError(f"tolerance: {name!r} is no distance; they are {', '.join(DISTANCES)}")
            if not (math.isfinite(value) and value >= 0):
                raise SettingsError(f"tolerance: that of {name} is {value}; give a number from 0 up")
        if not 0 < self.false_alarms < 1:
            raise SettingsError(f"false_alarms must be between 0 and 1, not {self.false_alarms}")
        if self.window < 1:
            raise SettingsError(f"window must be at least one record, not {self.window}")
