"""Read what the jobs write as it becomes visible, and keep the account."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from demo.watch import NewLines, Served
from schemas.lifecycle.experiments import ExperimentEvent, read_event
from schemas.lifecycle.quality import ALL, EvidenceBatch, OutcomeCounts, QualityRecord, read_message
from schemas.results.decided import Decided, read_decided
from schemas.results.records import EventKind, Outcome
from udfs.lifecycle.drift.alerts import Alert, read_alert


@dataclass(slots=True)
class LifeWatch:
    """The account of a work folder: `serving`, `judged`, `trial` and `watched` are the jobs' folders."""

    serving: Path
    judged: Path
    trial: Path
    watched: Path
    evidence: list[tuple[EvidenceBatch, float]] = field(default_factory=list)
    """With the time from which it could be read, in epoch ms."""
    quality: dict[str, QualityRecord] = field(default_factory=dict)
    counts: dict[str, OutcomeCounts] = field(default_factory=dict)
    experiments: dict[str, list[ExperimentEvent]] = field(default_factory=lambda: defaultdict(list))
    alerts: list[Alert] = field(default_factory=list)
    by_model: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    """What was told so far."""
    served: Served[Decided] = field(init=False)
    _lines: dict[Path, NewLines] = field(init=False)

    def __post_init__(self) -> None:
        self.served = Served(self.serving, lambda line, visible: read_decided(line))
        self._lines = {root: NewLines(root) for root in (self.judged, self.trial, self.watched)}

    def look(self) -> list[str]:
        """Take in the files that have become visible. Returns what is to be told, in words."""
        judged = self._lines[self.judged]
        decided, news = self.served.look()
        scored = (one.result for one in decided if one.result.outcome is Outcome.SCORED)
        self.by_model.update(result.model for result in scored)
        said = [f"{one.name} v{one.version} {one.kind.value}" for one in news if one.step != "plan"]
        self.evidence += [(read_message(EvidenceBatch, x), visible) for x, visible in judged.of("evidence")]
        for line, _ in judged.of("quality"):
            found = read_message(QualityRecord, line)
            if found.window == ALL and found.at >= getattr(self.quality.get(found.key), "at", 0):
                self.quality[found.key] = found
        for line, _ in judged.of("outcome-counts"):
            told = read_message(OutcomeCounts, line)
            if told.at >= getattr(self.counts.get(told.key), "at", 0):
                self.counts[told.key] = told
        for line, _ in self._lines[self.trial].of("experiments"):
            event = read_event(line)
            self.experiments[event.experiment].append(event)
            if event.kind != "progress":
                said.append(_told(event))
        for line, _ in self._lines[self.watched].of("alerts"):
            alert = read_alert(line)
            self.alerts.append(alert)
            if alert.drift:
                said.append(f"alert: {', '.join(one.feature for one in alert.drift)} has drifted")
        self.said += said
        return said

    def last(self, experiment: str) -> ExperimentEvent | None:
        """What was said of it last; what ends it counts, whatever came after, and what was refused only
        where there is nothing else."""
        found = self.experiments.get(experiment, [])
        final = [e for e in found if e.kind in ("rolled_back", "promoted", "stopped")]
        running = [e for e in found if e.kind != "refused"]
        told = final or sorted(running, key=lambda e: (e.at, e.entities)) or found
        return told[-1] if told else None

    def accuracy(self, model: str) -> float | None:
        """By the outcomes job, of all that the model decided."""
        found = [q for q in self.quality.values() if q.model == model and not (q.candidate or q.experiment)]
        counts = [(q.figures.get("accuracy"), q.figures.get("outcomes", 0)) for q in found]
        total = sum(n for a, n in counts if a is not None)
        return sum(a * n for a, n in counts if a is not None) / total if total else None

    @property
    def joined(self) -> int:
        """Predictions whose outcome is known, as the outcomes job counts them."""
        return sum(one.predictions.get("joined", 0) for one in self.counts.values())

    @property
    def judged_by_model(self) -> int:
        """The same, as the sums of all models have it."""
        own = (q for q in self.quality.values() if not (q.candidate or q.experiment))
        return round(sum(q.figures.get(name, 0) for q in own for name in ("predictions", "unscored")))

    def in_force_after_ms(self, experiment: str) -> float | None:
        """From when the evidence that decided could be read until the plan was in force at the router."""
        last = self.last(experiment)
        if last is None:
            return None
        seen = [at for one, at in self.evidence if one.experiment == experiment and at <= last.at]
        force = [
            e.at
            for e in self.served.events
            if (e.kind, e.name, e.version) == (EventKind.DECIDES, experiment, last.plan_version)
        ]
        return force[0] - max(seen) if seen and force else None

    def drifted(self, feature: str) -> Alert | None:
        return next((a for a in self.alerts if any(d.feature == feature for d in a.drift)), None)


def _told(event: ExperimentEvent) -> str:
    how = {
        "started": f"starts with {event.share:.0%} of the customers",
        "step": f"goes on with {event.share:.0%} of the customers",
        "refused": f"is refused: {event.reason}",
    }
    after = f"is {event.kind.replace('_', ' ')} after {event.entities:,} customers"
    return f"{event.experiment} {how.get(event.kind, after)}"
