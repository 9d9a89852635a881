"""The live table of a race, and the plain lines that stand in for it where there is no terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from rich.console import Console, RenderableType
from rich.text import Text

from demo.judge import TOLERANCE
from demo.panel import Screen, counted, figures, labelled, last_word, ms_of, share_of, table_of, wordings
from demo.plan import Planned
from demo.race.director import RaceDirector
from demo.race.plan import ABOUT_PLANS, CANDIDATES, DEADLINE_MS, DEEP, SLOW_MS, STAGES
from demo.race.watch import RaceWatch
from demo.show import about_of
from demo.verdict import Verdict
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
        sections = [self._figures(), self._candidates(), self._decision()]
        return Screen("Millrace race", stage, self.elapsed, sections, _MEANINGS)

    def line(self) -> str:
        """One line of progress."""
        by_name = []
        for candidate in CANDIDATES:
            tally = self.watch.tallies[candidate.name]
            by_name.append(
                f"{candidate.name} wins {tally.wins:,} late {tally.late:,} right {share_of(tally.accuracy)}"
            )
        return (
            f"[{self.elapsed:5.1f} s] in {self.director.written:,}  decided {self.watch.scored:,} "
            f"right {share_of(self.watch.accuracy)}  {'  '.join(by_name)}"
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
        slow = candidate is DEEP and self.director.delay_ms >= SLOW_MS
        return "slow" if slow else "racing"

    def _figures(self) -> RenderableType:
        named = (
            ("records in", f"{self.director.written:,}"),
            ("decided", f"{self.watch.scored:,}"),
            ("undecided", f"{len(self.watch.decided) - self.watch.scored:,}"),
            ("under way", f"{max(0, self.director.written - self.watch.accounted):,}"),
            ("dead letters", f"{len(self.watch.dead):,}"),
        )
        return figures(named, self.director.total, self.watch.accounted)

    def _candidates(self) -> RenderableType:
        table = table_of(
            ("model", 8),
            ("", None),
            ("state", 9),
            ("wins", -7),
            ("in time", -7),
            ("late", -7),
            ("declined", -8),
            ("accuracy", -8),
        )
        for candidate, about in zip(CANDIDATES, wordings(map(about_of, CANDIDATES)), strict=True):
            tally, state = self.watch.tallies[candidate.name], self.state(candidate)
            table.add_row(
                Text(candidate.name, "bold"),
                about,
                Text(state, _STYLES[state]),
                *(f"{count:,}" for count in (tally.wins, tally.answered, tally.late, tally.unable)),
                share_of(tally.accuracy),
            )
        decision = Text("decision", "bold cyan")
        table.add_row(decision, "", "", f"{self.watch.scored:,}", "", "", "", share_of(self.watch.accuracy))
        return table

    def _decision(self) -> RenderableType:
        plan = self.director.plan
        p50, p99 = self.decided_in(_RECENT) or (None, None)
        return labelled(
            (
                ("plan", Text(f"v{plan}: {ABOUT_PLANS[plan]}" if plan else "none yet", "cyan")),
                (
                    "decided in",
                    f"p50 {ms_of(p50)} ms, p99 {ms_of(p99)} ms; the deadline is {DEADLINE_MS} ms",
                ),
            )
        )


def summary(console: Console, show: RaceShow, verdict: Verdict) -> None:
    """The last word: what was found, and whether all is well."""
    watch = show.watch
    others = f"{len(watch.decided) - watch.scored:,} undecided, {len(watch.dead):,} dead letters"
    agrees = f"computed again, each score agrees within {TOLERANCE:g}"
    lines = [Text(f"{watch.scored:,} decided: {agrees}; {others}")]
    for candidate in CANDIDATES:
        tally = watch.tallies[candidate.name]
        lines.append(
            Text(
                f"{candidate.name:>8} alone: {share_of(tally.accuracy)} right of {tally.answered:,} in time; "
                f"won {tally.wins:,}, late {tally.late:,}, declined or failed {tally.unable:,}"
            )
        )
    lines.append(Text(f"decision: {share_of(watch.accuracy)} right of {watch.scored:,}"))
    if latency := show.decided_in():
        p50, p99 = map(ms_of, latency)
        lines.append(Text(f"decided in p50 {p50} ms, p99 {p99} ms of the router; deadline {DEADLINE_MS} ms"))
    head = [counted(verdict.records, " records written, of which")]
    last_word(console, verdict, head, lines, show.elapsed)
