"""Many tests at once, by e-values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def e_bh(log_e: Floats, alpha: float) -> NDArray[np.bool_]:
    """Which of K hypotheses fall, so that the expected share of false ones among them is at most alpha.

    The e-BH procedure of Wang and Ramdas, "False discovery rate control with e-values" (Journal of the Royal
    Statistical Society B 84(3), 2022): the k largest, for the largest k with the k-th e-value at least
    K / (k alpha). It holds under any dependence of the e-values. `log_e` has shape (K,).
    """
    order = np.argsort(-log_e, kind="stable")
    total = len(log_e)
    ranks = np.arange(1, total + 1)
    passed = np.flatnonzero(log_e[order] >= np.log(total / (ranks * alpha)))
    fallen = np.zeros(total, bool)
    if passed.size:
        fallen[order[: passed[-1] + 1]] = True
    return fallen


def log_e_of_levels(rejected: NDArray[np.bool_], levels: Floats) -> Floats:
    """An e-value from tests at J levels each: the mean over levels of 1/level where the test rejects.

    Each term has an expectation of at most 1 where the hypothesis holds, so has their mean (a calibrator,
    Vovk and Wang, "E-values: calibration, combination and applications", Annals of Statistics 49(3), 2021).
    `rejected` (K, J), `levels` (J,); gives log e-values (K,), -inf where nothing is rejected.
    """
    with np.errstate(divide="ignore"):
        return np.log((rejected / levels).mean(axis=1))
