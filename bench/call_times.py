"""How long a call takes. Nothing but the standard library: the Python of a peer imports it too."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any


def median_seconds(call: Callable[[], Any], seconds: float = 1.0) -> float:
    """Of the calls that fit into `seconds`, three at least, after three that do not count."""
    for _ in range(3):
        call()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 3:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return median(times)
