"""What the demo of a model's life shows."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from demo.director import Director
from demo.lifecycle.feed import VisitFeed
from demo.lifecycle.judge import Judge
from demo.lifecycle.plan import SERVED, TRIALS, Trial
from demo.lifecycle.stages import LifeSteps
from demo.lifecycle.visits import SCORE, TARGET
from demo.lifecycle.watch import LifeWatch
from demo.panel import counted, figures, labelled, share_of, table_of, wordings
from demo.verdict import Verdict
from schemas.lifecycle.experiments import ExperimentEvent
from schemas.results.records import EventKind

_BAR = 8
_STYLES = {
    "serves": "bold green",
    "canary": "bold yellow",
    "rolled back": "red",
    "waits": "dim",
    "replaced": "dim",
}


@dataclass(slots=True)
class LifeShow:
    """The facts of a run."""

    watch: LifeWatch
    director: Director
    feed: VisitFeed
    steps: LifeSteps
    judge: Judge

    name = "Millrace lifecycle"
    legend = (
        ("right", "by the outcomes that came, as jobs/outcomes.py counts them"),
        ("harm, gain", "evidence; a full bar decides. The unit is the customer"),
    )

    def sections(self) -> list[RenderableType]:
        return [self._figures(), self._models(), self._experiments(), self._news()]

    def line(self) -> str:
        right = "  ".join(
            f"{name} {self.share(name):.0%} right {share_of(self.watch.accuracy(name))}"
            for name in SERVED
            if name in self.steps.models
        )
        decided = f"decided {len(self.watch.served.results):,} outcomes {self.watch.joined:,}"
        return f"{self.director.heading}: in {len(self.feed.sent):,} {decided}  {right}"

    def summary(self, verdict: Verdict) -> tuple[list[Text], list[Text]]:
        """With an audit."""
        unscored, dead = verdict.unscored, len(self.watch.served.dead)
        lines = [Text(f"{verdict.scored:,} scored, {unscored:,} not, {dead:,} dead letters")]
        lines += [line for trial in TRIALS for line in _trial_lines(self.watch, trial)]
        lines.append(Text("One prediction of each phase, scored again here:"))
        lines += [Text(f"  {line}") for line in audit_lines(self.judge)]
        return [counted(verdict.records, " visits written, of which")], lines

    def state(self, name: str) -> str:
        if not self.watch.served.told(EventKind.SERVED, name):
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
        return 1.0 if name == "first" and self.watch.served.told(EventKind.SERVED, name) else 0.0

    def _figures(self) -> RenderableType:
        named = (
            ("visits", f"{len(self.feed.sent):,}"),
            ("decided", f"{len(self.watch.served.results):,}"),
            ("outcomes", f"{self.watch.joined:,}"),
            ("dead letters", f"{len(self.watch.served.dead):,}"),
            ("alerts", f"{sum(1 for alert in self.watch.alerts if alert.drift):,}"),
        )
        return figures(named, len(self.director.stages), self.director.at)

    def _models(self) -> RenderableType:
        table = table_of(
            ("model", 10), ("", None), ("state", 11), ("share", -5), ("decided", -7), ("right", -6)
        )
        models = self.steps.models.values()
        for model, said in zip(models, wordings((m.about, "") for m in models), strict=True):
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
        return labelled([("last", Text(said, "dim")) for said in self.watch.said[-2:]])


def _bar(value: float, full: float) -> str:
    filled = round(_BAR * min(max(value / full, 0), 1)) if full else 0
    return "█" * filled + "░" * (_BAR - filled)


def _ended(last: ExperimentEvent) -> str:
    words = {"rolled_back": "rolled back", "promoted": "promoted", "refused": "refused", "stopped": "stopped"}
    return words.get(last.kind, f"step {last.step + 1} of {last.steps}")


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
