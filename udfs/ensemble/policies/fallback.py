"""A fixed value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.plans.plan import Fallback
from udfs.ensemble.policies.votes import Piece, Verdict, Votes, judge


@judge.register
def fallback(policy: Fallback, votes: Votes) -> Verdict:
    everywhere = np.ones(votes.count, dtype=bool)
    columns = {name: _repeated(value, votes.count) for name, value in policy.value.items()}
    nowhere = ~everywhere
    return Verdict(
        everywhere, nowhere, [Piece(everywhere, columns)], np.zeros(votes.count, dtype=np.int64), ("",)
    )


def _repeated(value: Any, count: int) -> NDArray:
    column = np.empty(count, dtype=object)
    column[:] = [value] * count if not isinstance(value, list) else None
    for row in range(count if isinstance(value, list) else 0):
        column[row] = value
    return column
