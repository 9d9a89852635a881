"""Times that come as bare integers, in the unit that their column declares, as epoch milliseconds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from schemas.features.declarations import TimeUnit

_IN_A_MS = {"us": 1000, "ns": 1_000_000}
_MOST_SECONDS = (2**63 - 1) // 1000


def in_ms(times: pa.Array, unit: TimeUnit) -> pa.Array:
    """int64 `(n,)` of `unit` as int64 `(n,)` of milliseconds, rounded down. Seconds that 64 bits do not hold
    as milliseconds become the most that they do."""
    if unit == "ms":
        return times
    missing = times.is_null().to_numpy(zero_copy_only=False)
    known = times.fill_null(0).to_numpy()
    if unit == "s":
        return pa.array(np.clip(known, -_MOST_SECONDS, _MOST_SECONDS) * 1000, mask=missing)
    return pa.array(known // _IN_A_MS[unit], mask=missing)
