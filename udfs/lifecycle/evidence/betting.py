"""Evidence that one arm's bounded outcomes are worse (or better) than another's, entity by entity.

With arm Z (1: treatment, with probability p; 0: control) and outcome x in [0, 1], the score

    y = (Z / p - (1 - Z) / (1 - p)) * (x - c)

has the difference of the arms' means as its expectation for any c that is fixed before the entity:
randomisation identifies it, and c only takes variance away (augmented inverse propensity weighting, Robins,
Rotnitzky and Zhao, 1994). Under "the difference is at least d" each bet

    K <- K * (1 - lambda * (y - d)),   0 <= lambda < 1 / (largest y - d),

is a nonnegative supermartingale, so P(K >= 1/alpha at any time) <= alpha: Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting" (Journal of the Royal Statistical Society B 86(1),
2024). Where each entity has an outcome of both arms, y is their difference, which needs no p. The capital is
the mean of that of several lambdas on a grid, as Cover's universal portfolio mixes them, which needs no guess
of the effect. The other direction bets on -y.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import ExperimentError

Floats = NDArray[np.float64]
FRACTIONS = np.geomspace(0.004, 0.5, 10)
"""Of the largest lambda that is allowed."""


class BettingTest(msgspec.Struct):
    """Bets against "treatment - control >= margin" (`sign` 1: for harm) or "<= margin" (`sign` -1: for gain).

    Its state is plain numbers: `log_capital` (10,) and what `c` is made of.
    """

    sign: int = 1
    margin: float = 0.0
    log_capital: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(FRACTIONS))
    highest: float = 0.0
    count: int = 0
    total: float = 0.0

    def add(self, treated: NDArray[np.bool_], outcomes: Floats, share: float) -> float:
        """Take in entities that were assigned with probability `share` to treatment; both of shape (n,).

        Gives the log of the evidence, the highest so far. Raises `ExperimentError` for outcomes outside of
        [0, 1] and a share outside of (0, 1).
        """
        if not 0 < share < 1:
            raise ExperimentError(f"the treatment's share is {share}: to compare, both arms need one")
        _check_bounds(outcomes)
        steps = log_steps(treated, outcomes, share, centre=self.centre, margin=self.margin, sign=self.sign)
        return self._taken(steps, outcomes)

    def add_pairs(self, control: Floats, treatment: Floats) -> float:
        """Take in entities with an outcome of each arm, both of shape (n,). As `add`."""
        _check_bounds(np.stack([control, treatment]))
        return self._taken(_log_bets(treatment - control, 1.0, self.margin, self.sign), control)

    def _taken(self, steps: Floats, outcomes: Floats) -> float:
        self.log_capital = (np.array(self.log_capital) + steps.sum(axis=0)).tolist()
        self.count += outcomes.size
        self.total += float(outcomes.sum())
        self.highest = max(self.highest, self.log_value)
        return self.highest

    @property
    def centre(self) -> float:
        """c: the mean outcome so far, of both arms, drawn to 1/2 by one outcome."""
        return (self.total + 0.5) / (self.count + 1)

    @property
    def log_value(self) -> float:
        return float(np.logaddexp.reduce(self.log_capital) - math.log(len(FRACTIONS)))


def _check_bounds(outcomes: Floats) -> None:
    if outcomes.size and not (outcomes.min() >= 0 and outcomes.max() <= 1):  # NaN fails too
        raise ExperimentError("outcomes must lie in [0, 1]: scale them by their declared bounds")


def log_steps(
    treated: NDArray[np.bool_], outcomes: Floats, share: float, *, centre: float, margin: float, sign: int
) -> Floats:
    """log(1 - lambda (y - d)) of shape (n, 10), for entities of shape (n,)."""
    off = outcomes - centre
    y = np.where(treated, off / share, -off / (1 - share))
    return _log_bets(y, 1 / min(share, 1 - share), margin, sign)  # no |y| is larger, whatever c is


def _log_bets(y: Floats, largest: float, margin: float, sign: int) -> Floats:
    return np.log1p(-sign * (y - margin)[..., None] * (FRACTIONS / (largest + abs(margin))))
