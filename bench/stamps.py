"""What the stamps of decided results say: who had answered, and when the decision was made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.race import CANDIDATES

_DECIDED = b'"outcome":"scored"'


class Stamps:
    """Notes of `records` results: how many answers each was decided by, and milliseconds to the decision."""

    def __init__(self, records: int) -> None:
        self._answers = np.zeros(records, "int8")
        self._ms = np.zeros(records, "float32")

    def look(self, number: int, value: bytes) -> None:
        """Note a result. ValueError where it has no stamp of a decision."""
        # Found by their marks: to parse every result would take more time than making it did.
        stamp = value.rindex(b'"millrace":')
        ms = value.index(b'"ms":', stamp) + 5
        self._ms[number] = float(value[ms : value.index(b",", ms)])
        self._answers[number] = value.count(_DECIDED, value.index(b'"answers":', ms))

    def share(self, numbers: NDArray) -> dict[str, float]:
        """Number of answers -> the share of these records that were decided by so many."""
        found = np.bincount(self._answers[numbers], minlength=len(CANDIDATES) + 1)
        return {str(n): round(float(share), 4) for n, share in enumerate(found / max(len(numbers), 1))}

    def decided_after(self, ms: float, numbers: NDArray) -> int:
        """How many of these records were decided more than `ms` after the creation of their micro-batch."""
        return int((self._ms[numbers] > ms).sum())
