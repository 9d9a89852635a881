"""What a race shows."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from demo.director import Director
from demo.feed import Feed
from demo.judge import TOLERANCE
from demo.panel import counted, figures, labelled, ms_of, percentiles, share_of, table_of, wordings
from demo.plan import Planned
from demo.race.stages import ABOUT_PLANS, CANDIDATES, DEADLINE_MS, DEEP, SLOW_MS, RaceSteps
from demo.race.watch import RaceWatch
from demo.show import about_of
from demo.verdict import Verdict
from schemas.results.records import EventKind

_STYLES = {"racing": "bold green", "slow": "bold yellow", "withdrawn": "dim", "loading": "yellow"}
_RECENT = 2000


@dataclass(slots=True)
class RaceShow:
    """The facts of a run; of `total` records."""

    feed: Feed
    watch: RaceWatch
    director: Director
    steps: RaceSteps
    total: int

    name = "Millrace race"
    legend = (
        ("in time", "answers that were there when the record was decided"),
        ("accuracy", "of the answers in time, on rows that no model was trained on"),
        ("decided in", "from the router to the decision; reading and writing of folders is not in it"),
    )

    def sections(self) -> list[RenderableType]:
        return [self._figures(), self._candidates(), self._decision()]

    def line(self) -> str:
        by_name = []
        for candidate in CANDIDATES:
            tally = self.watch.tallies[candidate.name]
            by_name.append(
                f"{candidate.name} wins {tally.wins:,} late {tally.late:,} right {share_of(tally.accuracy)}"
            )
        return (
            f"in {self.feed.count:,}  decided {self.watch.scored:,} "
            f"right {share_of(self.watch.accuracy)}  {'  '.join(by_name)}"
        )

    def summary(self, verdict: Verdict) -> tuple[list[Text], list[Text]]:
        watch = self.watch
        others = f"{self._undecided:,} undecided, {len(watch.served.dead):,} dead letters"
        agrees = f"computed again, each score agrees within {TOLERANCE:g}"
        lines = [Text(f"{watch.scored:,} decided: {agrees}; {others}")]
        for candidate in CANDIDATES:
            tally = watch.tallies[candidate.name]
            lines.append(
                Text(
                    f"{candidate.name:>8} alone: {share_of(tally.accuracy)} right of {tally.answered:,} in "
                    f"time; won {tally.wins:,}, late {tally.late:,}, declined or failed {tally.unable:,}"
                )
            )
        lines.append(Text(f"decision: {share_of(watch.accuracy)} right of {watch.scored:,}"))
        lines.append(Text(f"decided in {self.decided_in()} of the router; deadline {DEADLINE_MS} ms"))
        return [counted(verdict.records, " records written, of which")], lines

    def decided_in(self, last: int = 0) -> str:
        """p50 and p99 from the router to the decision, of the `last` results (0: all)."""
        p50, p99 = percentiles([one.result.ms for one in self.watch.served.results[-last:]])
        return f"p50 {ms_of(p50)} ms, p99 {ms_of(p99)} ms"

    @property
    def _undecided(self) -> int:
        return len(self.watch.served.results) - self.watch.scored

    def state(self, candidate: Planned) -> str:
        told = self.watch.served.told
        if told(EventKind.WITHDRAWN, candidate.version):
            return "withdrawn"
        if not told(EventKind.SERVED, candidate.version):
            return "loading"
        slow = candidate is DEEP and self.steps.delay_ms >= SLOW_MS
        return "slow" if slow else "racing"

    def _figures(self) -> RenderableType:
        named = (
            ("records in", f"{self.feed.count:,}"),
            ("decided", f"{self.watch.scored:,}"),
            ("undecided", f"{self._undecided:,}"),
            ("under way", f"{max(0, self.feed.count - self.watch.served.accounted):,}"),
            ("dead letters", f"{len(self.watch.served.dead):,}"),
        )
        return figures(named, self.total, self.watch.served.accounted)

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
        plan = self.steps.plan
        said = Text(f"v{plan}: {ABOUT_PLANS[plan]}" if plan else "none yet", "cyan")
        took = f"{self.decided_in(_RECENT)}; the deadline is {DEADLINE_MS} ms"
        return labelled((("plan", said), ("decided in", took)))
