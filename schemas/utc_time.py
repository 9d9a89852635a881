"""Times as they are written for people and other programs: UTC, as ISO 8601 has it."""

from __future__ import annotations

import time


def utc_time(ms: int) -> str:
    """Epoch milliseconds to the second, such as `2026-11-28T13:00:00Z`. What no calendar has stays a number.

    >>> utc_time(1_700_000_000_000), utc_time(10**20)
    ('2023-11-14T22:13:20Z', '100000000000000000000 ms')
    """
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
