"""The live table, and the plain lines that stand in for it where there is no terminal."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import numpy as np
from rich.console import Console, RenderableType
from rich.text import Text

from demo.director import Director
from demo.feed import Feed
from demo.judge import TOLERANCE
from demo.panel import Screen, counted, figures, labelled, last_word, ms_of, share_of, table_of, wordings
from demo.plan import PLANNED, STAGES, Planned
from demo.verdict import Verdict
from demo.watch import Watch
from schemas.results.records import EventKind, ModelEvent

_RECENT_S = 5.0
_MEANINGS = (
    ("visible", "from read by the job to readable in its output, which waits for checkpoints (1 s)"),
    ("call", "one call of the model, of the records that one look into the folder found"),
    ("accuracy", "on rows that no model was trained on"),
)
_STYLES = {"serving": "bold green", "replaced": "dim", "refused": "bold red", "to come": "dim"}


@dataclass(slots=True)
class Show:
    """Renders the state of a run. `started` in epoch seconds; `note` is said in the top line."""

    feed: Feed
    watch: Watch
    director: Director
    started: float
    note: str = ""

    def panel(self) -> RenderableType:
        at = self.director.stage
        stage = self.note or f"{at + 1}/{len(STAGES)} {STAGES[at].title}"
        sections = [self._figures(), self._types(), self._versions(), self._below()]
        return Screen("Millrace demo", stage, self.elapsed, sections, _MEANINGS)

    @property
    def elapsed(self) -> float:
        return time.time() - self.started

    def line(self) -> str:
        """One line of progress."""
        watch = self.watch
        by_type = []
        for name in self.feed.sent:
            p50, p99 = self.latency(name) or (None, None)
            version = watch.serving(name)
            by_type.append(f"{name} {f'v{version}' if version else '-'} p50 {ms_of(p50)} p99 {ms_of(p99)} ms")
        return (
            f"[{self.elapsed:5.1f} s] in {self.feed.count:,}  scored {sum(self._scored()):,}  "
            f"{self.rate():,.0f}/s  dead letters {len(watch.dead):,}  {'  '.join(by_type)}"
        )

    def told(self, event: ModelEvent) -> str:
        """A model event in one line."""
        about = f"{event.data_type} v{event.version}"
        if event.kind is EventKind.REFUSED:
            return f"[{self.elapsed:5.1f} s] {about} is refused at step {event.step}: {event.reason}"
        return f"[{self.elapsed:5.1f} s] {about} is {event.kind.value} (loaded in {ms_of(event.load_ms)} ms)"

    def rate(self, data_type: str = "") -> float:
        """Results a second over the last seconds."""
        now = time.time()
        arrivals = self.watch.arrivals
        while arrivals and arrivals[0][0] < (now - _RECENT_S) * 1000:
            arrivals.popleft()
        span = min(_RECENT_S, max(1.0, self.elapsed))
        return sum(count for _, name, count in arrivals if data_type in ("", name)) / span

    def latency(self, data_type: str, whole: bool = False) -> tuple[float, float] | None:
        """p50 and p99 in ms from read to visible: of the last seconds, or of all read since a model served.

        What was buffered for the first model is in neither: it waited for the model, not for the job.
        """
        first = next(
            (e.at for e in self.watch.events if (e.kind, e.data_type) == ("served", data_type)), None
        )
        if first is None:
            return None
        since = 0.0 if whole else (time.time() - _RECENT_S) * 1000
        found = []
        for result in reversed(self.watch.results):
            if result.visible < since:
                break
            if result.data_type == data_type and result.event_time >= first:
                found.append(result.visible - result.event_time)
        if not found:
            return None
        p50, p99 = np.percentile(found, (50, 99))
        return float(p50), float(p99)

    def state(self, model: Planned) -> str:
        event = self.watch.event(model.data_type, model.version)
        if event is not None and event.kind is EventKind.REFUSED:
            return "refused"
        if event is not None:
            return "serving" if self.watch.serving(model.data_type) == model.version else "replaced"
        if model in self.director.published:
            return "loading"
        return "publishing" if model == self.director.publishing else "to come"

    def _scored(self) -> list[int]:
        return [tally.results for tally in self.watch.tallies.values()]

    def _figures(self) -> RenderableType:
        named = (
            ("records in", f"{self.feed.count:,}"),
            ("scored", f"{sum(self._scored()):,}"),
            ("under way", f"{max(0, self.feed.count - self.watch.accounted):,}"),
            ("dead letters", f"{len(self.watch.dead):,}"),
            ("rate", f"{self.rate():,.0f} /s"),
        )
        return figures(named, self.director.total, self.watch.accounted)

    def _types(self) -> RenderableType:
        table = table_of(("type", 9), ("scored by", None), ("results", -9), ("visible p50", -11), ("p99", -9))
        models = {(m.data_type, m.version): m for m in PLANNED}
        serving = [models.get((name, self.watch.serving(name))) for name in self.feed.sent]
        for name, served in zip(self.feed.sent, wordings(map(_served, serving)), strict=True):
            p50, p99 = self.latency(name) or (None, None)
            table.add_row(
                Text(name, "bold"),
                served,
                f"{self.rate(name):,.0f} /s",
                f"{ms_of(p50)} ms",
                f"{ms_of(p99)} ms",
            )
        return table

    def _versions(self) -> RenderableType:
        table = table_of(
            ("model", 9),
            ("", None),
            ("state", 10),
            ("scored", -7),
            ("accuracy", -8),
            ("call p50", -9),
            ("p99", -8),
        )
        for model, about in zip(PLANNED, wordings(map(about_of, PLANNED)), strict=True):
            key = (model.data_type, model.version)
            tally, stats = self.watch.tallies.get(key), self.watch.stats.get(key)
            state = self.state(model)
            used = stats is not None and stats.batches > 0
            table.add_row(
                model.label,
                about,
                Text(state, _STYLES.get(state, "yellow")),
                f"{tally.results:,}" if tally else "-",
                share_of(tally.accuracy if tally else None),
                f"{stats.p50_ms:.2f} ms" if stats and used else "-",
                f"{stats.p99_ms:.2f} ms" if stats and used else "-",
                style="dim" if state == "to come" else "",
            )
        return table

    def _below(self) -> RenderableType:
        rows: list[tuple[str, RenderableType]] = []
        for event in self.watch.events:
            if event.kind is EventKind.REFUSED:
                about = Text(f"{event.data_type} v{event.version} at the step {event.step}: ", "bold red")
                rows.append(("refused", about.append(_short(event.reason), "red")))
        if not rows:
            rows.append(("refused", Text("no model yet", "dim")))
        letters = ", ".join(f"{count:,} {code}" for code, count in self.watch.reasons.most_common())
        rows.append(("dead letters", Text(letters or "none yet", "yellow" if letters else "dim")))
        return labelled(rows)


def about_of(model: Planned) -> tuple[str, str, str]:
    """What kind of model it is, in three lengths."""
    return f"{model.kind}, {model.about}", model.kind, ""


def _served(model: Planned | None) -> tuple[Text, ...]:
    if model is None:
        words = ("no model yet, records are buffered", "no model yet", "none")
        return tuple(Text(form, "yellow") for form in words)
    return tuple(
        Text.assemble((f"v{model.version}", "bold green"), " " * bool(form), form) for form in about_of(model)
    )


def _short(text: str) -> str:
    """The text with the first digits of each SHA-256."""
    return re.sub(r"\b([0-9a-f]{16})[0-9a-f]{48}\b", r"\1", text)


def summary(console: Console, show: Show, verdict: Verdict) -> None:
    """The last word: what was found, and whether all is well."""
    share = verdict.told_apart / verdict.scored if verdict.scored else 0.0
    spoiled = sum(len(sent.spoiled) for sent in show.feed.sent.values())
    lines = [
        Text(f"{verdict.scored:,} scored: computed again with the version on the stamp, each score agrees"),
        Text(f"within {TOLERANCE:g}; {share:.1%} of them differ from what any other version gives"),
        Text(f"{len(show.watch.dead):,} dead letters; {spoiled:,} records were spoiled on purpose"),
    ]
    if verdict.unscored:
        lines.append(Text(f"{verdict.unscored:,} marked as not scored, with a reason", "yellow"))
    for name in show.feed.sent:
        if latency := show.latency(name, whole=True):
            p50, p99 = map(ms_of, latency)
            lines.append(
                Text(f"{name}: read → visible p50 {p50} ms, p99 {p99} ms, once its first model served")
            )
    head = [counted(verdict.records, " records written, of which")]
    last_word(console, verdict, head, lines, show.elapsed)
