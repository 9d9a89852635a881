"""Which alerts cause a run of a command, and when: debounced, one run at a time, no alert twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from schemas.lifecycle.alert_run import AlertRun
from udfs.lifecycle.drift.alerts import ReadAlert, sentence

_LONGEST = 4_000
"""Characters of one variable."""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are meant; what is empty means all. `kinds`: drift, anomaly, quality, outlier."""

    kinds: frozenset[str] = frozenset()
    data_types: frozenset[str] = frozenset()

    def takes(self, one: ReadAlert) -> bool:
        kind = one.alert.type.rpartition(".")[2]
        return (not self.kinds or kind in self.kinds) and (
            not self.data_types or one.alert.data_type in self.data_types
        )


@dataclass(slots=True)
class AlertQueue:
    """Alerts that wait for a run. `debounce_s`: after the first of them, what comes within it shares its run.
    `pause_s`: alerts that come sooner after the end of a run cause none.

    `handled` are ids of alerts that are settled: those of runs before, also of another process, whose log
    says so. Times are seconds of one clock.
    """

    filter: AlertFilter
    debounce_s: float
    pause_s: float
    handled: set[str] = field(default_factory=set)
    _waiting: list[ReadAlert] = field(default_factory=list)
    _since: float = 0.0
    _ended: float | None = None

    def add(self, one: ReadAlert, now: float) -> bool:
        """False where the alert is passed over for coming too soon; what is no news is not taken either."""
        if not self.filter.takes(one) or one.id in self.handled:
            return True
        self.handled.add(one.id)
        if self._ended is not None and now - self._ended < self.pause_s:
            return False
        if not self._waiting:
            self._since = now
        self._waiting.append(one)
        return True

    def waiting(self) -> set[str]:
        return {one.id for one in self._waiting}

    def due(self, now: float) -> bool:
        return bool(self._waiting) and now - self._since >= self.debounce_s

    def take(self) -> list[ReadAlert]:
        """All that wait, for one run."""
        taken, self._waiting = self._waiting, []
        return taken

    def ended(self, now: float) -> None:
        """A run has ended."""
        self._ended = now


def settled(runs: Iterable[AlertRun]) -> tuple[set[str], list[AlertRun]]:
    """From a log: the ids of alerts that must cause no further run, and runs that began and never ended."""
    ids: set[str] = set()
    begun: dict[tuple[str, ...], AlertRun] = {}
    for run in runs:
        ids.update(run.alerts)
        if run.state == "started":
            begun[run.alerts] = run
        else:
            begun.pop(run.alerts, None)
    return ids, list(begun.values())


def environment_of(alerts: Sequence[ReadAlert], file: str) -> dict[str, str]:
    """What a command is told of its alerts, as environment variables. `file`: where they stand as JSON lines,
    all of them: an environment is bounded, and lists and texts end before they are too long.

    Names come from streams that others fill: a command must treat them as data.
    """
    last = alerts[-1].alert
    features: list[str] = []
    since: list[int] = []
    for alert in (one.alert for one in alerts):
        features += [one.feature for one in alert.drift]
        features += [one.feature for one in alert.anomalies]
        features += [one.feature for one in alert.outliers]
        since += [one.since for one in alert.drift]
        since += [one.since for one in alert.quality]
    values = {
        "IDS": _joined(a.id for a in alerts),
        "COUNT": str(len(alerts)),
        "TYPES": _joined(a.alert.type for a in alerts),
        "DATA_TYPE": last.data_type[:_LONGEST],
        "DATA_TYPES": _joined(a.alert.data_type for a in alerts),
        "MODEL": last.model[:_LONGEST],
        "VERSION": str(last.version),
        "FEATURES": _joined(features),
        "METRICS": _joined(one.metric for a in alerts for one in a.alert.quality),
        "START": str(min(a.alert.start for a in alerts)),
        "END": str(max(a.alert.end for a in alerts)),
        "SINCE": str(min(since)) if since else "",
        "TEXT": "; ".join(sentence(a.alert) for a in alerts)[:_LONGEST],
        "FILE": file,
    }
    return {f"MILLRACE_ALERT_{name}": value.replace("\0", "") for name, value in values.items()}


def _joined(names: Iterable[str]) -> str:
    """Each once, in their order, as many as fit."""
    each = dict.fromkeys(names)
    lengths = accumulate(len(name) + 1 for name in each)
    return ",".join(name for name, end in zip(each, lengths, strict=True) if end <= _LONGEST)
