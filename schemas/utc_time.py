"""Times as they are written for people and other programs: UTC, as ISO 8601 has it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


def utc_time(ms: int) -> str:
    """Epoch milliseconds to the second, such as `2026-11-28T13:00:00Z`. What no calendar has stays a number.

    >>> utc_time(1_700_000_000_000), utc_time(10**20)
    ('2023-11-14T22:13:20Z', '100000000000000000000 ms')
    """
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def epoch_ms(value: Any) -> int | None:
    """Epoch milliseconds of a number of them, or of a time as ISO 8601 writes it, UTC unless it says
    otherwise. None for what is no time, or one before 1970.

    >>> epoch_ms("1970-01-01T01:00:02+01:00"), epoch_ms(2000.0), epoch_ms("soon")
    (2000, 2000, None)
    """
    if type(value) in (int, float):
        return int(value) if 0 <= value < 2**53 else None
    if type(value) is not str:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    at = (found - _EPOCH) // _MS
    return at if at >= 0 else None
