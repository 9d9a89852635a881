"""The live table of the house prices, and the plain lines that stand in for it where there is no terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.text import Text

from demo.house.director import STAGES, HouseDirector
from demo.house.judge import TOLERANCE, HouseVerdict
from demo.house.story import DAYS, Facts
from demo.house.watch import HouseWatch
from demo.panel import Screen, counted, figures, last_word, table_of, wordings
from schemas.results.records import EventKind, ModelEvent
from udfs.stores.online.base import Found, State

_BY = ("jobs/features.py", "jobs/training_set.py", "millrace publish", "jobs/assemble.py, jobs/serve.py")
_SHOWN = 6
_LOOK_S = 0.5


@dataclass(slots=True)
class HouseShow:
    """Renders the state of a run. `started` in epoch seconds; `note` is said in the top line."""

    facts: Facts
    watch: HouseWatch
    director: HouseDirector
    started: float
    note: str = ""
    _served: list[Found] = field(default_factory=list)
    _looked: float = 0.0

    @property
    def elapsed(self) -> float:
        return time.time() - self.started

    def panel(self) -> RenderableType:
        at = self.director.stage
        stage = self.note or f"{at + 1}/{len(STAGES)} {STAGES[min(at, len(STAGES) - 1)]}"
        sections = [self._figures(), self._districts(), self._stages(), self._model()]
        return Screen("Millrace features", stage, self.elapsed, sections)

    def line(self) -> str:
        """One line of progress."""
        return (
            f"[{self.elapsed:5.1f} s] {STAGES[min(self.director.stage, len(STAGES) - 1)]}: day "
            f"{min(self.director.day, DAYS)}  events {self.director.written:,}  history rows "
            f"{self._rows():,}  requests {self.director.asked:,}  completed {len(self.watch.assembled):,}  "
            f"expired {len(self.watch.expired):,}  scored {len(self.watch.results):,}"
        )

    def told(self, event: ModelEvent) -> str:
        """A model event in one line."""
        why = f" at step {event.step}: {event.reason}" if event.kind is EventKind.REFUSED else ""
        return f"[{self.elapsed:5.1f} s] {event.name} v{event.version} {event.kind.value}{why}"

    def _rows(self) -> int:
        return sum(self.watch.history.values())

    def _figures(self) -> RenderableType:
        named = (
            ("events", f"{self.director.written:,}"),
            ("history rows", f"{self._rows():,}"),
            ("requests", f"{self.director.asked:,}"),
            ("completed", f"{len(self.watch.assembled):,}"),
            ("expired", f"{len(self.watch.expired):,}"),
            ("scored", f"{len(self.watch.results):,}"),
        )
        events = self.facts.sales + self.facts.listings
        total, done = events + len(self.facts.known), self._rows() + len(self.watch.results)
        return figures(named, total, done)

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
        for number, (title, who) in enumerate(zip(STAGES, by, strict=True)):
            seconds = self.director.seconds(number, now)
            style = "bold cyan" if number == self.director.stage else "" if seconds is not None else "dim"
            took = "" if seconds is None else f"{seconds:,.0f} s"
            table.add_row(Text(f"{number + 1} {title}", style), who, took)
        return table

    def _model(self) -> RenderableType:
        offline = self.director.offline
        if not offline:
            return Text("no model yet", "dim")
        return Text(
            f"model: linear, of {offline['examples']:,} sales; offline, on houses it has not seen: mean "
            f"error {offline['mae']:,.1f} €/m², R² {offline['r2']:.4f}"
        )


def summary(console: Console, show: HouseShow, verdict: HouseVerdict) -> None:
    """The last word: what was found, and whether all is well."""
    facts, watch, offline = show.facts, show.watch, show.director.offline
    twice = f" events gave as many rows of history; {facts.twice:,} sales were reported twice"
    out = f" requests: {len(watch.assembled):,} completed, {len(watch.expired):,} expired; "
    head = [
        counted(facts.sales + facts.listings, twice),
        counted(verdict.records, f"{out}{facts.spoiled:,} lines beside them were no requests"),
    ]
    lines = [
        Text(f"model of {offline['examples']:,} sales, on {len(facts.known):,} houses new to it, in €/m²:")
    ]
    for where, mae, r2 in (("offline", offline["mae"], offline["r2"]), ("online", verdict.mae, verdict.r2)):
        lines.append(Text(f"{where:>8}: mean absolute error {mae:.6f}, R2 {r2:.9f}"))
    if verdict.good:
        lines.append(
            Text(f"features are equal in every bit; scores, offline and online, agree within {TOLERANCE:g}")
        )
    last_word(console, verdict, head, lines, show.elapsed)
