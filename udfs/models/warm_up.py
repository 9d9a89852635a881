"""Calls before a model serves, at the batch sizes in use, within a budget of time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from schemas.tensors import Columns
from udfs.models.memory import forget_peak, recent_peak

CALLS = 5
SECONDS = 0.5
"""Of one batch size: repeated calls end after so many, or so much time."""

_MEASURED = 16  # rows from which on the growth of memory is that of rows, not of the first call


@dataclass(frozen=True, slots=True)
class Budget:
    """What all warm-up calls of a model may take: `seconds`, and `bytes` of memory for one call."""

    seconds: float = 20.0
    bytes: int = 1 << 30


@dataclass(slots=True)
class Warmed:
    """By batch size the median ms of a call; `rows`: the largest batch within the budget, None for any.

    `note` says what was left out, "" for nothing.
    """

    ms: dict[int, float] = field(default_factory=dict)
    rows: int | None = None
    note: str = ""


def warm_up(
    call: Callable[[Columns], None],
    columns: Callable[[int], Columns],
    batches: Sequence[int],
    budget: Budget,
) -> Warmed:
    """Call with `columns(n)` for each n of `batches`, the smallest first, as long as the budget lasts.

    A size is left out, with all above it, where the time and the growth of memory at the size before say that
    one call would take more than what is left. The median is without the first call, in which memory and
    kernels are set up.
    """
    done = Warmed()
    spent, per_row, growth = 0.0, 0.0, 0.0
    largest = 1
    for count in sorted(set(batches)):
        left = budget.seconds - spent
        if done.ms and (per_row * count > left or growth * count > budget.bytes):
            done.rows = largest
            done.note = (
                f"batches of {count} were not tried: a call would take about {per_row * count:.1f} s and "
                f"{growth * count / 1e9:.1f} GB; this model is given at most {largest} records at once"
            )
            return done
        rows = columns(count)
        before = forget_peak()
        started = time.perf_counter()
        call(rows)
        once = time.perf_counter() - started
        if count >= _MEASURED:
            growth = max(growth, (recent_peak() - before) / count)
        times: list[float] = []
        while len(times) < CALLS and sum(times) < SECONDS and (not times or once + sum(times) < left):
            if once > left and count > 1:
                break
            started = time.perf_counter()
            call(rows)
            times.append(time.perf_counter() - started)
        done.ms[count] = median(times or [once]) * 1000
        spent += once + sum(times)
        per_row, largest = done.ms[count] / 1000 / count, count
    return done
