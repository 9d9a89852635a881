"""Time as an executor sees it, in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


def _epoch() -> float:
    return time.time() * 1000


def _steady() -> float:
    return time.monotonic() * 1000


@dataclass(frozen=True, slots=True)
class Clock:
    """`epoch` is what deadlines are in; `steady` measures durations and is never set back."""

    epoch: Callable[[], float] = _epoch
    steady: Callable[[], float] = _steady
