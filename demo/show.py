"""What `serve` shows."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from demo.director import Director
from demo.feed import Feed
from demo.judge import TOLERANCE
from demo.panel import counted, figures, labelled, ms_of, percentiles, share_of, table_of, wordings
from demo.plan import PLANNED, Planned
from demo.trained import TrainedModels
from demo.verdict import Verdict
from demo.watch import Watch
from schemas.results.records import EventKind

_RECENT_S = 5.0
_STYLES = {"serving": "bold green", "replaced": "dim", "refused": "bold red", "to come": "dim"}


@dataclass(slots=True)
class ServeShow:
    """The facts of a run; of `total` records."""

    feed: Feed
    watch: Watch
    director: Director
    models: TrainedModels
    total: int

    name = "Millrace demo"
    legend = (
        ("visible", "from read by the job to readable in its output, which waits for checkpoints (1 s)"),
        ("call", "one call of the model, of the records that one look into the folder found"),
        ("accuracy", "on rows that no model was trained on"),
    )

    def sections(self) -> list[RenderableType]:
        return [self._figures(), self._types(), self._versions(), self._below()]

    def line(self) -> str:
        by_type = []
        for name in self.feed.sent:
            p50, p99 = map(ms_of, self.latency(name))
            version = self.watch.serving(name)
            by_type.append(f"{name} {f'v{version}' if version else '-'} p50 {p50} p99 {p99} ms")
        return (
            f"in {self.feed.count:,}  scored {self._scored:,}  {self.rate():,.0f}/s  "
            f"dead letters {len(self.watch.served.dead):,}  {'  '.join(by_type)}"
        )

    def summary(self, verdict: Verdict) -> tuple[list[Text], list[Text]]:
        share = verdict.told_apart / verdict.scored if verdict.scored else 0.0
        spoiled = sum(len(sent.spoiled) for sent in self.feed.sent.values())
        dead = len(self.watch.served.dead)
        lines = [
            Text(
                f"{verdict.scored:,} scored: computed again with the version on the stamp, each score agrees"
            ),
            Text(f"within {TOLERANCE:g}; {share:.1%} of them differ from what any other version gives"),
            Text(f"{dead:,} dead letters; {spoiled:,} records were spoiled on purpose"),
        ]
        if verdict.unscored:
            lines.append(Text(f"{verdict.unscored:,} marked as not scored, with a reason", "yellow"))
        for name in self.feed.sent:
            p50, p99 = map(ms_of, self.latency(name, whole=True))
            said = f"read → visible p50 {p50} ms, p99 {p99} ms, once its first model served"
            lines.append(Text(f"{name}: {said}"))
        return [counted(verdict.records, " records written, of which")], lines

    def rate(self, data_type: str = "") -> float:
        """Results a second over the last seconds."""
        now = time.time()
        arrivals = self.watch.arrivals
        while arrivals and arrivals[0][0] < (now - _RECENT_S) * 1000:
            arrivals.popleft()
        return sum(count for _, name, count in arrivals if data_type in ("", name)) / _RECENT_S

    def latency(self, data_type: str, whole: bool = False) -> tuple[float, float] | tuple[None, None]:
        """p50 and p99 in ms from read to visible: of the last seconds, or of all read since a model served.

        What was buffered for the first model is in neither: it waited for the model, not for the job.
        """
        events = self.watch.served.events
        first = next((e.at for e in events if (e.kind, e.data_type) == ("served", data_type)), None)
        if first is None:
            return None, None
        since = 0.0 if whole else (time.time() - _RECENT_S) * 1000
        found = []
        for result in reversed(self.watch.served.results):
            if result.visible < since:
                break
            if result.data_type == data_type and result.event_time >= first:
                found.append(result.visible - result.event_time)
        return percentiles(found)

    def state(self, model: Planned) -> str:
        event = self.watch.event(model.data_type, model.version)
        if event is not None and event.kind is EventKind.REFUSED:
            return "refused"
        if event is not None:
            return "serving" if self.watch.serving(model.data_type) == model.version else "replaced"
        if model not in self.models.asked:
            return "to come"
        return "publishing" if self.models.bench.busy and model == self.models.asked[-1] else "loading"

    @property
    def _scored(self) -> int:
        return sum(tally.results for tally in self.watch.tallies.values())

    def _figures(self) -> RenderableType:
        named = (
            ("records in", f"{self.feed.count:,}"),
            ("scored", f"{self._scored:,}"),
            ("under way", f"{max(0, self.feed.count - self.watch.served.accounted):,}"),
            ("dead letters", f"{len(self.watch.served.dead):,}"),
            ("rate", f"{self.rate():,.0f} /s"),
        )
        return figures(named, self.total, self.watch.served.accounted)

    def _types(self) -> RenderableType:
        table = table_of(("type", 9), ("scored by", None), ("results", -9), ("visible p50", -11), ("p99", -9))
        models = {(m.data_type, m.version): m for m in PLANNED}
        serving = [models.get((name, self.watch.serving(name))) for name in self.feed.sent]
        for name, served in zip(self.feed.sent, wordings(map(_served, serving)), strict=True):
            p50, p99 = map(ms_of, self.latency(name))
            rate = f"{self.rate(name):,.0f} /s"
            table.add_row(Text(name, "bold"), served, rate, f"{p50} ms", f"{p99} ms")
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
        for event in self.watch.served.events:
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
