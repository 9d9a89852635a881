"""A change of quality for the worse, noticed soon after it happens: an e-detector.

Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (New
England Journal of Statistics in Data Science 2(2), 2024). For each batch an e-value L says how much its
losses speak against a mean of at most `baseline`; the detector of Shiryaev and Roberts is M = L (M + 1), a
sum over all batches at which the change may have begun. While the mean is at most the baseline, the expected
number of batches until M reaches `1 / alpha` is at least `1 / alpha`.

L is the empirical Bernstein e-process of one batch (`udfs.lifecycle.evidence.bernstein`), with one detector
for each of several lambdas, and M their mean, which keeps the guarantee.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import SettingsError
from udfs.lifecycle.evidence.bernstein import log_evidence

RATES = np.geomspace(0.005, 0.5, 12)
_HIGHEST = 700.0


class QualityDetector(msgspec.Struct):
    """`baseline`: the mean loss in [0, 1] that is still good. `patience`: batches until a false alarm, at
    least, in expectation. Raises `SettingsError` for values outside of these.

    `log_sums` (12,) is the state; `since` the batch at which the change most likely began, counted from 0.
    """

    baseline: float
    patience: float = 10_000.0
    batches: int = 0
    log_sums: list[float] = msgspec.field(default_factory=lambda: [-math.inf] * len(RATES))
    starts: list[int] = msgspec.field(default_factory=lambda: [0] * len(RATES))
    alarmed: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.baseline < 1:
            raise SettingsError(f"the baseline is a mean loss from 0 to below 1, not {self.baseline}")
        if not self.patience > 1:
            raise SettingsError(f"patience is a number of batches above 1, not {self.patience}")

    def add(self, count: int, total: float, squares: float, *, more: bool = False) -> bool:
        """Take in a batch of `count` losses in [0, 1], their sum, and the sum of their squares; or with
        `more` what belongs to the batch before, with which no other change may have begun.

        True from the alarm on. A batch of none changes nothing.
        """
        if not count:
            return self.alarmed
        m = self.baseline
        log_l = log_evidence(total - count * m, squares - 2 * m * total + count * m * m, RATES)
        before = np.array(self.log_sums)
        if not more:
            before = self._begun(before)
        self.log_sums = np.minimum(log_l + before, _HIGHEST).tolist()
        self.alarmed = self.alarmed or self.log_value >= math.log(self.patience)
        return self.alarmed

    def _begun(self, before: NDArray[np.float64]) -> NDArray[np.float64]:
        """A batch begins: M + 1, of which the 1 is the change that begins with it."""
        # what began before this batch weighs less than what begins with it: the change is later
        self.starts = np.where(before < 0, self.batches, np.array(self.starts)).astype(int).tolist()
        self.batches += 1
        return np.logaddexp(before, 0.0)

    @property
    def log_value(self) -> float:
        """log M."""
        return float(np.logaddexp.reduce(self.log_sums) - math.log(len(RATES)))

    @property
    def since(self) -> int:
        return self.starts[int(np.argmax(self.log_sums))]
