"""The live table of a model's life, and the plain lines that stand in for it where there is no terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.text import Text

from demo.lifecycle.director import LifeDirector
from demo.lifecycle.judge import Judge
from demo.lifecycle.plan import SERVED, STAGES, TRIALS, Trial
from demo.lifecycle.visits import SCORE, TARGET
from demo.lifecycle.watch import LifeWatch
from demo.panel import Screen, counted, figures, labelled, last_word, share_of, table_of, wordings
from schemas.lifecycle.experiments import ExperimentEvent
from schemas.results.records import EventKind, ModelEvent

_BAR = 8
_STYLES = {
    "serves": "bold green",
    "canary": "bold yellow",
    "rolled back": "red",
    "waits": "dim",
    "replaced": "dim",
}
_MEANINGS = (
    ("right", "by the outcomes that came, as jobs/outcomes.py counts them"),
    ("harm, gain", "evidence; a full bar decides. The unit is the customer"),
)


@dataclass(slots=True)
class LifeShow:
    """Renders the state of a run. `started` in epoch seconds; `note` is said in the top line."""

    watch: LifeWatch
    director: LifeDirector
    started: float
    note: str = ""
    said: list[str] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        return time.time() - self.started

    def panel(self) -> RenderableType:
        at = self.director.at
        stage = self.note or f"{at + 1}/{len(STAGES)} {STAGES[at].title}"
        sections = [self._figures(), self._models(), self._experiments(), self._news()]
        return Screen("Millrace lifecycle", stage, self.elapsed, sections, _MEANINGS)

    def line(self) -> str:
        """One line of progress."""
        at = self.director.at
        right = "  ".join(
            f"{name} {self.share(name):.0%} right {share_of(self.watch.accuracy(name))}"
            for name in SERVED
            if name in self.director.models
        )
        place = f"{at + 1}/{len(STAGES)} {STAGES[at].title}"
        decided = f"decided {len(self.watch.decided):,} outcomes {self.watch.joined:,}"
        return f"[{self.elapsed:5.1f} s] {place}: in {self.director.written:,} {decided}  {right}"

    def told(self, event: ModelEvent) -> str:
        return f"[{self.elapsed:5.1f} s] {event.name} v{event.version} {event.kind.value}"

    def state(self, name: str) -> str:
        if not self.watch.told(EventKind.SERVED, name):
            return "waits"
        for trial in reversed(TRIALS):
            last = self.watch.last(trial.name)
            if last is None:
                continue
            if name == trial.treatment:
                return {"rolled_back": "rolled back", "promoted": "serves"}.get(last.kind, "canary")
            if name == trial.control and last.kind == "promoted":
                return "replaced"
        return "serves" if name == "first" else "waits"

    def share(self, name: str) -> float:
        """Of the customers, as the plan in force has it."""
        for trial in reversed(TRIALS):
            last = self.watch.last(trial.name)
            if last is not None:
                found = {arm.model: arm.share for arm in last.arms.values()}
                return found.get(name, 0.0)
        return 1.0 if name == "first" and self.watch.told(EventKind.SERVED, name) else 0.0

    def _figures(self) -> RenderableType:
        named = (
            ("visits", f"{self.director.written:,}"),
            ("decided", f"{len(self.watch.decided):,}"),
            ("outcomes", f"{self.watch.joined:,}"),
            ("dead letters", f"{len(self.watch.dead):,}"),
            ("alerts", f"{sum(1 for alert in self.watch.alerts if alert.drift):,}"),
        )
        return figures(named, len(STAGES), self.director.at + (1 if self.note else 0))

    def _models(self) -> RenderableType:
        table = table_of(
            ("model", 10), ("", None), ("state", 11), ("share", -5), ("decided", -7), ("right", -6)
        )
        about = [(m.about, "") for m in self.director.models.values()]
        for model, said in zip(self.director.models.values(), wordings(about), strict=True):
            state = self.state(model.name)
            table.add_row(
                Text(f"{model.name} v{model.version}", "bold"),
                said,
                Text(state, _STYLES[state]),
                f"{self.share(model.name):.0%}",
                f"{self.watch.by_model[model.name]:,}",
                share_of(self.watch.accuracy(model.name)),
            )
        return table

    def _experiments(self) -> RenderableType:
        table = table_of(("experiment", 16), ("customers", -9), ("harm", _BAR), ("gain", _BAR), ("", 11))
        for trial in TRIALS:
            last = self.watch.last(trial.name)
            if last is not None:
                table.add_row(
                    Text(trial.name, "bold"),
                    f"{last.entities:,}",
                    Text(_bar(last.harm, last.harm_at), "red"),
                    Text(_bar(last.gain, last.gain_at), "green"),
                    _ended(last),
                )
        return table

    def _news(self) -> RenderableType:
        return labelled([("last", Text(said, "dim")) for said in self.said[-2:]])


def _bar(value: float, full: float) -> str:
    filled = round(_BAR * min(max(value / full, 0), 1)) if full else 0
    return "█" * filled + "░" * (_BAR - filled)


def _ended(last: ExperimentEvent) -> str:
    words = {"rolled_back": "rolled back", "promoted": "promoted", "refused": "refused", "stopped": "stopped"}
    return words.get(last.kind, f"step {last.step + 1} of {last.steps}")


def summary(console: Console, show: LifeShow, judge: Judge) -> None:
    """The last word: what was found, an audit, and whether all is well."""
    watch, verdict = show.watch, judge.verdict
    lines = [Text(f"{verdict.scored:,} scored, {verdict.unscored:,} not, {len(watch.dead):,} dead letters")]
    lines += [line for trial in TRIALS for line in _trial_lines(watch, trial)]
    lines.append(Text("One prediction of each phase, scored again here:"))
    lines += [Text(f"  {line}") for line in audit_lines(judge)]
    head = [counted(verdict.records, " visits written, of which")]
    last_word(console, verdict, head, lines, show.elapsed)


def _trial_lines(watch: LifeWatch, trial: Trial) -> list[Text]:
    last = watch.last(trial.name)
    if last is None:
        return [Text(f"{trial.name}: never started")]
    took = watch.in_force_after_ms(trial.name)
    arms = ", ".join(f"{a.model} {share_of(a.mean)} of {a.entities:,}" for a in last.arms.values())
    said = "" if took is None else f", in force after {took:,.0f} ms"
    return [
        Text(f"{trial.name}: {_ended(last)} by {last.entities:,} customers{said}"),
        Text(f"{'':17} {arms}"),
    ]


def audit_lines(judge: Judge) -> list[str]:
    """What is stamped, and the score as it is computed again: two lines each."""
    found = []
    for phase, one in judge.audited():
        result = one.result
        by = f"{result.model} v{result.version} {result.digest[:8]}"
        of = "".join(
            f"{name} {arm} step {step + 1}: " for name, (arm, step) in one.result.experiments.items()
        )
        found.append(f"{phase:>16}: {result.record['id']} by {by}, {TARGET} {judge.outcome_of(one)}")
        again = f"{result.scores[SCORE]:.4f}, again {judge.score_again(one):.4f}"
        found.append(f"{'':17} {of}{again}")
    return found
