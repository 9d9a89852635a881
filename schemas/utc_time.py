"""Times as they are written for people and other programs: UTC, as ISO 8601 has it."""

from __future__ import annotations

import time


def utc_time(ms: int) -> str:
    """Epoch milliseconds to the second, such as `2026-11-28T13:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))
