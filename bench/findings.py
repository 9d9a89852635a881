"""What the speculating job's runs found, for people and for the last line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from rich.table import Table

from bench import report
from bench.plan import Plan
from bench.race import CANDIDATES, DEADLINE_MS
from bench.stamps import Stamps
from bench.throughput import Throughput

GRACE_MS = 50
_AT_LEAST = 0.9
_STUCK_MS = {"2000": 120, "20000": 250}


@dataclass(slots=True)
class Findings:
    """By case: `latency` by rate, `runs` at saturation; by case and phase: `share` by the number of answers,
    `late` decisions. `lost` and `repeated` are of all runs together, warm-ups too.
    """

    latency: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    runs: dict[str, list[Throughput]] = field(default_factory=dict)
    share: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    late: dict[str, dict[str, int]] = field(default_factory=dict)
    lost: int = 0
    repeated: int = 0

    def count(self, lost: int, repeated: int) -> None:
        self.lost += lost
        self.repeated += repeated

    def note(self, case: str, phase: str, stamps: Stamps, numbers: NDArray) -> None:
        """What the stamps of these records say; of rounds the last one's share, and all late decisions."""
        self.share.setdefault(case, {})[phase] = stamps.share(numbers)
        late = self.late.setdefault(case, {})
        late[phase] = late.get(phase, 0) + stamps.decided_after(DEADLINE_MS + GRACE_MS, numbers)


def summary(found: Findings) -> dict[str, Any]:
    """The numbers of the last line; those of a case that was not measured are not there."""
    eps = {case: report.median_eps(runs) for case, runs in found.runs.items()}
    numbers: dict[str, Any] = dict(found.latency)
    numbers |= {
        "lost": found.lost,
        "doubled": found.repeated,
        "late_decisions": sum(sum(late.values()) for late in found.late.values()),
    }
    if "ok" in eps:
        numbers["saturation_eps"] = round(eps["ok"])
    if "stuck" in eps:
        numbers["saturation_stuck_eps"] = round(eps["stuck"])
    if "ok" in eps and "stuck" in eps:
        numbers["saturation_stuck_ratio"] = round(eps["stuck"] / eps["ok"], 3)
    return numbers | {
        "share_by_answers": found.share,
        "late_decisions_by_phase": found.late,
        "cpu_s_per_million": {case: round(report.median_cpu(runs), 2) for case, runs in found.runs.items()},
    }


def judged(n: Mapping[str, Any]) -> list[report.Target]:
    """What the project asks of these numbers, as far as they were measured."""
    at_most = [("records lost", n["lost"], 0.0), ("results too many", n["doubled"], 0.0)]
    if "ok" in n:
        at_2000 = n["ok"]["2000"]
        at_most += [
            ("all well, p50 at 2,000 records/s, ms", at_2000["p50"], 45),
            ("all well, p99 at 2,000 records/s, ms", at_2000["p99"], 90),
        ]
    at_most += [
        (f"one stuck, p99 at {int(rate):,} records/s, ms", now["p99"], _STUCK_MS[rate])
        for rate, now in n.get("stuck", {}).items()
    ]
    at_least = []
    if "saturation_stuck_ratio" in n:
        what = "saturation with one stuck, ratio to all well"
        at_least.append((what, n["saturation_stuck_ratio"], _AT_LEAST))
    return report.judged(at_least, at_most)


def phases(plan: Plan, n: Mapping[str, Any]) -> Table:
    """One row a case and phase: latency, by how many answers records were decided, late decisions."""
    most = len(CANDIDATES)
    table = Table(
        "case",
        title=f"Decided by all {most} answers, after {DEADLINE_MS} ms by those there are; end to end, at "
        f"least once, {plan.phase_s:g} s a phase",
    )
    for column in ("records/s", "p50 ms", "p99 ms", *(f"by {k}" for k in range(most + 1)), "late"):
        table.add_column(column, justify="right")
    for case, shares in n["share_by_answers"].items():
        for phase, share in shares.items():
            now = n.get(case, {}).get(phase)
            times = ("", "") if now is None else (f"{now['p50']:.1f}", f"{now['p99']:.1f}")
            rate = f"{int(phase):,}" if phase.isdigit() else phase
            late = f"{n['late_decisions_by_phase'][case][phase]:,}"
            table.add_row(case, rate, *times, *(f"{part:.1%}" for part in share.values()), late)
        table.add_section()
    return table


def saturation(plan: Plan, found: Findings) -> Table:
    """One row a case: rate and processor time."""
    title = f"Saturation: {plan.records:,} records, {plan.rounds} round(s), medians"
    base = next(iter(found.runs))
    return report.rates(title, found.runs, base, f"to {base}")
