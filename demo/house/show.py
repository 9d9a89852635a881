"""What the demo of features shows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import RenderableType
from rich.text import Text

from demo.director import Director
from demo.house.judge import TOLERANCE
from demo.house.stages import Days, HouseSteps
from demo.house.story import DAYS, Facts
from demo.house.watch import HouseWatch
from demo.panel import counted, figures, table_of, wordings
from demo.verdict import Verdict
from udfs.stores.online.base import Found, State

_BY = ("jobs/features.py", "jobs/training_set.py", "millrace publish", "jobs/assemble.py, jobs/serve.py")
_SHOWN = 6
_LOOK_S = 0.5


@dataclass(slots=True)
class HouseShow:
    """The facts of a run."""

    facts: Facts
    watch: HouseWatch
    director: Director
    steps: HouseSteps
    days: Days
    _served: list[Found] = field(default_factory=list)
    _looked: float = 0.0

    name = "Millrace features"
    legend = ()

    def sections(self) -> list[RenderableType]:
        return [self._figures(), self._districts(), self._stages(), self._model()]

    def line(self) -> str:
        counts = "  ".join(f"{name} {count:,}" for name, count in self._counts().items())
        return f"{self.director.title}: day {min(self.days.day, DAYS)}  {counts}"

    def summary(self, verdict: Verdict) -> tuple[list[Text], list[Text]]:
        facts, watch, offline = self.facts, self.watch, self.steps.offline
        twice = f" events gave as many rows of history; {facts.twice:,} sales were reported twice"
        out = f" requests: {len(watch.assembled):,} completed, {len(watch.expired):,} expired; "
        head = [
            counted(facts.sales + facts.listings, twice),
            counted(verdict.records, f"{out}{facts.spoiled:,} lines beside them were no requests"),
        ]
        on = f"on {len(facts.known):,} houses new to it, in €/m²"
        lines = [Text(f"model of {offline['examples']:,} sales, {on}:")]
        for where, of in (("offline", offline), ("online", verdict.figures)):
            lines.append(Text(f"{where:>8}: mean absolute error {of['mae']:.6f}, R2 {of['r2']:.9f}"))
        if verdict.good:
            within = f"scores, offline and online, agree within {TOLERANCE:g}"
            lines.append(Text(f"features are equal in every bit; {within}"))
        return head, lines

    def _counts(self) -> dict[str, int]:
        return {
            "events": self.days.written,
            "history rows": sum(self.watch.history.values()),
            "requests": self.steps.asked,
            "completed": len(self.watch.assembled),
            "expired": len(self.watch.expired),
            "scored": len(self.watch.scoring.results),
        }

    def _figures(self) -> RenderableType:
        counts, facts = self._counts(), self.facts
        named = [(name, f"{count:,}") for name, count in counts.items()]
        total = facts.sales + facts.listings + len(facts.known)
        return figures(named, total, counts["history rows"] + counts["scored"])

    def _districts(self) -> RenderableType:
        table = table_of(
            ("district", 9),
            ("in Redis as of", 17),
            ("sold in 14 d", -13),
            ("mean per m²", -13),
            ("a day", -11),
        )
        names = sorted(self.facts.newest)[:_SHOWN]
        if time.monotonic() >= self._looked + _LOOK_S:
            self._served, self._looked = self.watch.served(names), time.monotonic()
        for name, found in zip(names, self._served, strict=True):
            if found.state is not State.PRESENT:
                table.add_row(Text(name, "bold"), Text("nothing yet", "yellow"))
                continue
            sold, mean, trend = found.values
            as_of = time.strftime("%Y-%m-%d %H:%M", time.gmtime(found.event_time / 1000))
            moves = "" if trend is None else f"{trend:+,.1f} €"
            table.add_row(Text(name, "bold"), as_of, f"{sold:,}", f"{mean:,.0f} €", moves)
        return table

    def _stages(self) -> RenderableType:
        table = table_of(("stage", 38), ("by", None), ("", -7))
        by = wordings((Text(name, "dim"), Text("", "dim")) for name in _BY)
        now = time.monotonic()
        for number, (stage, who) in enumerate(zip(self.director.stages, by, strict=True)):
            seconds = self.director.seconds(number, now)
            style = "bold cyan" if number == self.director.at else "" if seconds is not None else "dim"
            took = "" if seconds is None else f"{seconds:,.0f} s"
            table.add_row(Text(f"{number + 1} {stage.title}", style), who, took)
        return table

    def _model(self) -> RenderableType:
        offline = self.steps.offline
        if not offline:
            return Text("no model yet", "dim")
        return Text(
            f"model: linear, of {offline['examples']:,} sales; offline, on houses it has not seen: mean "
            f"error {offline['mae']:,.1f} €/m², R² {offline['r2']:.4f}"
        )
