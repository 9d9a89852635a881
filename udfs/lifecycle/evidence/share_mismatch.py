"""Evidence that entities do not fall on arms as declared: a sample ratio mismatch.

The Bayes factor of a Dirichlet prior around the declared shares against them is an e-process: Lindon and
Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

PRIOR_WEIGHT = 100.0
"""Entities that the prior counts for. Evidence of small mismatches grows sooner with more."""


class ShareTest(msgspec.Struct):
    """The state is the counts since the shares were last changed, and the log evidence from before."""

    counts: dict[str, int] = msgspec.field(default_factory=dict)
    shares: dict[str, float] = msgspec.field(default_factory=dict)
    before: float = 0.0
    highest: float = 0.0

    def add(self, counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
        """Take in entities by arm, assigned with these shares (above 0, their sum 1). Gives the highest log
        evidence so far. With other shares than before it goes on: the product of e-processes is one."""
        if dict(shares) != self.shares:
            self.before, self.counts, self.shares = self.log_value, {}, dict(shares)
        for arm, count in counts.items():
            self.counts[arm] = self.counts.get(arm, 0) + count
        self.highest = max(self.highest, self.log_value)
        return self.highest

    @property
    def log_value(self) -> float:
        n = sum(self.counts.values())
        found = math.lgamma(PRIOR_WEIGHT) - math.lgamma(PRIOR_WEIGHT + n)
        for arm, share in self.shares.items():
            k, weight = self.counts.get(arm, 0), PRIOR_WEIGHT * share
            found += math.lgamma(weight + k) - math.lgamma(weight) - k * math.log(share)
        return self.before + found
