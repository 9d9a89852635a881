"""Numbers for people: progress lines and tables."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.throughput import Throughput

console = Console(highlight=False, soft_wrap=True)
_START = time.monotonic()
Target = tuple[str, float, str, bool]
"""What, measured, wanted, met."""


def say(text: str) -> None:
    """A progress line with the seconds since the start."""
    console.print(f"[{time.monotonic() - _START:6.0f} s] {text}", markup=False)


def median_eps(runs: Sequence[Throughput]) -> float:
    """Results a second."""
    return statistics.median(run.eps for run in runs)


def median_cpu(runs: Sequence[Throughput]) -> float:
    """Processor seconds a million results."""
    return statistics.median(run.cpu_s_per_million for run in runs)


def rates(
    title: str, runs: Mapping[str, Sequence[Throughput]], bare: str, compared: str = "to bare"
) -> Table:
    """One row a subject: median rate, its range over the rounds, ratio to `bare`, processor time."""
    table = Table("subject", title=title)
    for column in ("records/s", "least .. most", compared, "CPU s per million"):
        table.add_column(column, justify="right")
    for name, found in runs.items():
        eps = [run.eps for run in found]
        table.add_row(
            name,
            f"{median_eps(found):,.0f}",
            f"{min(eps):,.0f} .. {max(eps):,.0f}",
            f"{median_eps(found) / median_eps(runs[bare]):.2f}",
            f"{median_cpu(found):.2f}",
        )
    return table


def latencies(title: str, found: Mapping[str, Mapping[str, float]], what: str = "records/s") -> Table:
    """One row a phase: p50 and p99."""
    table = Table(what, title=title)
    for column in ("p50 ms", "p99 ms"):
        table.add_column(column, justify="right")
    for name, numbers in found.items():
        table.add_row(name, f"{numbers['p50']:.1f}", f"{numbers['p99']:.1f}")
    return table


def percentiles(ms: NDArray) -> dict[str, float]:
    """p50 and p99 of milliseconds."""
    return {f"p{p}": round(float(np.percentile(ms, p)), 1) for p in (50, 99)}


def judged(
    at_least: Sequence[tuple[str, float, float]], at_most: Sequence[tuple[str, float, float]]
) -> list[Target]:
    """Of (what, measured, wanted)."""
    rows = [(what, found, f"at least {want:,g}", found >= want) for what, found, want in at_least]
    return rows + [(what, found, f"at most {want:,g}", found <= want) for what, found, want in at_most]


def targets(rows: Sequence[Target]) -> Table:
    """One row a target."""
    table = Table("target", "measured", "wanted", "", title="Targets")
    for what, measured, wanted, met in rows:
        table.add_row(what, f"{measured:.2f}", wanted, "met" if met else "MISSED")
    return table
