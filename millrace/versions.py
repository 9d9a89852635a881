"""Versions and times as people read them."""

from __future__ import annotations

import time

_FIRST, _LAST = 1_000_000_000_000, 9_999_999_999_999
"""Epoch milliseconds of 2001-09-09 and 2286-11-20: a number in between is a time that `publish` gave."""


def short(version: int) -> str:
    """`v3`, or for a time in epoch milliseconds its date, local and to the second."""
    if not _FIRST <= version <= _LAST:
        return f"v{version}"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version / 1000))


def with_date(version: int) -> str:
    """The number as it is published, with the date that it stands for where it is a time."""
    told = short(version)
    return str(version) if told.startswith("v") else f"{version} ({told})"


def local(ms: int | None) -> str:
    """Local time to the second; `-` for none. What no calendar has stays a number."""
    if not ms:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))
    except (ValueError, OverflowError, OSError):
        return str(ms)
