"""The live table of a race, and the plain lines that stand in for it where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.judge import TOLERANCE, Verdict
from demo.plan import Planned
from demo.race.director import RaceDirector
from demo.race.plan import ABOUT_PLANS, CANDIDATES, DEADLINE_MS, DEEP, SLOW_MS, STAGES
from demo.race.watch import RaceWatch
from demo.show import ms_of, table_of
from schemas.results.records import EventKind, ModelEvent

_STYLES = {"racing": "bold green", "slow": "bold yellow", "withdrawn": "dim", "loading": "yellow"}
_MEANINGS = (
    ("in time", "answers that were there when the record was decided"),
    ("accuracy", "of the answers in time, on rows that no model was trained on"),
    ("decided in", "from the router to the decision; reading and writing of folders is not in it"),
)
_RECENT = 2000


@dataclass(slots=True)
class RaceShow:
    """Renders the state of a run. `started` in epoch seconds; `note` is said in the top line."""

    watch: RaceWatch
    director: RaceDirector
    started: float
    note: str = ""

    @property
    def elapsed(self) -> float:
        return time.time() - self.started

    def panel(self) -> RenderableType:
        at = self.director.stage
        stage = self.note or f"{at + 1}/{len(STAGES)} {STAGES[at].title}"
        parts = [
            self._figures(),
            Text(),
            Text(),
            self._candidates(),
            Text(),
            self._decision(),
            Text(),
            _below(),
        ]
        return Panel(
            Group(*parts),
            title=Text.assemble((" Millrace race ", "bold cyan"), ("· " + stage + " ", "default")),
            title_align="left",
            subtitle=Text(f" {self.elapsed:.0f} s ", style="dim"),
            subtitle_align="right",
            border_style="cyan",
            box=box.ROUNDED,
            padding=(1, 2, 0, 2),
        )

    def line(self) -> str:
        """One line of progress."""
        by_name = []
        for candidate in CANDIDATES:
            tally = self.watch.tallies[candidate.name]
            by_name.append(
                f"{candidate.name} wins {tally.wins:,} late {tally.late:,} right {_share(tally.accuracy)}"
            )
        return (
            f"[{self.elapsed:5.1f} s] in {self.director.written:,}  decided {self.watch.scored:,} "
            f"right {_share(self.watch.accuracy)}  {'  '.join(by_name)}"
        )

    def told(self, event: ModelEvent) -> str:
        """A model event in one line."""
        about = f"plan v{event.version}" if event.step == "plan" else event.name
        why = f": {event.reason}" if event.reason else ""
        return f"[{self.elapsed:5.1f} s] {about} {event.kind.value}{why}"

    def decided_in(self, last: int = 0) -> tuple[float, float] | None:
        """p50 and p99 in ms from the router to the decision, of the `last` results (0: all)."""
        found = [one.result.ms for one in self.watch.decided[-last:]]
        if not found:
            return None
        p50, p99 = np.percentile(found, (50, 99))
        return float(p50), float(p99)

    def state(self, candidate: Planned) -> str:
        if self.watch.told(EventKind.WITHDRAWN, candidate.version):
            return "withdrawn"
        if not self.watch.told(EventKind.SERVED, candidate.version):
            return "loading"
        slow = candidate is DEEP and self.director.drill_ms >= SLOW_MS
        return "slow" if slow else "racing"

    def _figures(self) -> RenderableType:
        grid = Table.grid(expand=True)
        undecided = len(self.watch.decided) - self.watch.scored
        figures = (
            ("records in", f"{self.director.written:,}"),
            ("decided", f"{self.watch.scored:,}"),
            ("undecided", f"{undecided:,}"),
            ("under way", f"{max(0, self.director.written - self.watch.accounted):,}"),
            ("dead letters", f"{len(self.watch.dead):,}"),
        )
        for _ in figures:
            grid.add_column(ratio=1)
        grid.add_row(*(Text(value, "bold white") for _, value in figures))
        grid.add_row(*(Text(name, "dim") for name, _ in figures))
        bar = ProgressBar(self.director.total, self.watch.accounted, complete_style="cyan")
        return Group(grid, Text(), bar)

    def _candidates(self) -> RenderableType:
        table = table_of(
            ("model", 9),
            ("", 32),
            ("state", 10),
            ("wins", -8),
            ("in time", -8),
            ("late", -8),
            ("declined", -9),
            ("accuracy", -9),
        )
        for candidate in CANDIDATES:
            tally, state = self.watch.tallies[candidate.name], self.state(candidate)
            table.add_row(
                Text(candidate.name, "bold"),
                f"{candidate.kind}, {candidate.about}",
                Text(state, _STYLES[state]),
                *(f"{count:,}" for count in (tally.wins, tally.answered, tally.late, tally.unable)),
                _share(tally.accuracy),
            )
        table.add_row(
            Text("decision", "bold cyan"),
            "",
            "",
            f"{self.watch.scored:,}",
            "",
            "",
            "",
            _share(self.watch.accuracy),
        )
        return table

    def _decision(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(style="dim", width=12)
        grid.add_column(no_wrap=True)
        plan = self.director.plan
        recent = self.decided_in(_RECENT)
        p50, p99 = recent or (None, None)
        grid.add_row("plan", Text(f"v{plan}: {ABOUT_PLANS[plan]}" if plan else "none yet", "cyan"))
        grid.add_row(
            "decided in", f"p50 {ms_of(p50)} ms, p99 {ms_of(p99)} ms; the deadline is {DEADLINE_MS} ms"
        )
        return grid


def _below() -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", width=12)
    grid.add_column(style="dim", no_wrap=True)
    for name, meaning in _MEANINGS:
        grid.add_row(name, meaning)
    return grid


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def summary(
    console: Console, show: RaceShow, verdict: Verdict, differing: Sequence[str], faults: Sequence[str]
) -> bool:
    """The last word: what was found, and whether all is well, which is returned."""
    watch = show.watch
    findings = (
        (verdict.lost, "lost"),
        (verdict.doubled, "doubled"),
        (verdict.mis_stamped, "stamped with a model that did not score them"),
        (verdict.misplaced, "in the wrong output"),
        (len(differing), "decided otherwise than the pure functions decide by the same answers"),
    )
    lines = [Text.assemble((f"{verdict.records:,}", "bold"), " records written, of which")]
    for number, what in findings:
        lines.append(Text.assemble((f"{number:>9,} ", "bold green" if number == 0 else "bold red"), what))
    lines.append(
        Text(f"{watch.scored:,} decided: computed again, each score agrees within {TOLERANCE:g}; ", end="")
        + Text(f"{len(watch.decided) - watch.scored:,} undecided, {len(watch.dead):,} dead letters")
    )
    for candidate in CANDIDATES:
        tally = watch.tallies[candidate.name]
        lines.append(
            Text(
                f"{candidate.name:>8} alone: {_share(tally.accuracy)} right of {tally.answered:,} in time; "
                f"won {tally.wins:,}, late {tally.late:,}, declined or failed {tally.unable:,}"
            )
        )
    lines.append(Text(f"decision: {_share(watch.accuracy)} right of {watch.scored:,}"))
    if latency := show.decided_in():
        p50, p99 = map(ms_of, latency)
        lines.append(Text(f"decided in p50 {p50} ms, p99 {p99} ms of the router; deadline {DEADLINE_MS} ms"))
    lines += [Text(f"  {fault}", "red") for fault in [*verdict.examples, *differing[:5], *faults]]
    good = verdict.good and not differing and not faults
    word = "All is well" if good else "Not well"
    lines.append(Text(f"{word}, after {show.elapsed:.0f} s.", "bold green" if good else "bold red"))
    for line in lines:
        console.print(line, soft_wrap=True)
    return good
