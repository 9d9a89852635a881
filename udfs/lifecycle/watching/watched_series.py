"""The windows of one series: partial sums are merged, judged, told of when the watermark has passed, and what
changes is told once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import msgspec

from schemas.lifecycle.window_statistics import WindowStatistics
from schemas.versioned import read_versioned
from udfs.io.s3 import S3Options
from udfs.lifecycle.drift.alerts import OUTLIER, Alert, anomaly_alert, drift_alert
from udfs.lifecycle.drift.anomalies import AnomalySettings, anomalies
from udfs.lifecycle.drift.monitor import DriftMonitor
from udfs.lifecycle.drift.settings import DriftSettings
from udfs.lifecycle.statistics.table import TableStatistics
from udfs.lifecycle.watching.places import reader
from udfs.lifecycle.watching.series import SCORES, UNTIMED, PartialWindow, Series
from udfs.lifecycle.watching.training_sets import TrainingPlaces, TrainingSet, TrainingSets, monitor_of
from udfs.lifecycle.watching.window_messages import messages

Told = Alert | WindowStatistics
MOST_TOLD = 200
"""Findings of one alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSpec:
    """`early`: drift is looked for at each partial sum, not only when the window closes. `repeat_ms`: what
    lasts is told of again after so much event time; 0: never. `name`: of the job, the alerts' source."""

    name: str
    of: Literal["records", "results"]
    window_ms: int
    drift: DriftSettings = field(default_factory=DriftSettings)
    anomalies: AnomalySettings = field(default_factory=AnomalySettings)
    early: bool = True
    repeat_ms: int = 0
    sample: float = 1.0
    with_fields: bool = True
    places: TrainingPlaces = field(default_factory=TrainingPlaces)
    s3: S3Options = field(default_factory=S3Options)
    again_ms: int = 5_000

    def training_sets(self) -> TrainingSets:
        return TrainingSets(self.places, reader(self.s3), self.again_ms, self.with_fields)


class Episodes(msgspec.Struct, array_like=True):
    """What lasts: `since` by drifting feature, and `said` by what an alert was about, both starts of
    windows."""

    since: dict[str, int] = {}
    said: dict[str, int] = {}
    version: int = 1


def write_episodes(episodes: Episodes) -> bytes:
    return msgspec.msgpack.encode(episodes)


def read_episodes(data: bytes) -> Episodes:
    """Raises `StateError` for bytes that are none, and of a newer version."""
    return read_versioned(_EPISODES.decode, data, "episodes of drift")


_EPISODES = msgspec.msgpack.Decoder(Episodes)


class WatchedSeries:
    """`windows` by start and `episodes` are the state. Without a training set windows are told of and not
    judged.

    Messages carry `at`, the clock of the job in ms, which the caller gives as `now`.
    """

    def __init__(
        self,
        series: Series,
        training: TrainingSet | None,
        spec: JudgeSpec,
        windows: Mapping[int, PartialWindow] | None = None,
        episodes: Episodes | None = None,
        *,
        additions: Iterator[int] | None = None,
    ) -> None:
        """`additions`: numbers of which none comes twice; of its own, where none are given."""
        self.windows = dict(windows or {})
        self.episodes = episodes or Episodes()
        self._additions = count(1) if additions is None else additions
        self._addition = 0
        self._series, self._spec = series, spec
        self._training: TrainingSet | None = None
        self._monitor: DriftMonitor | None = None
        if training is not None:
            self.compare_with(training)

    @property
    def lasts(self) -> bool:
        """Whether anything is known of it that is not known anew."""
        return bool(self.windows or self.episodes.since or self.episodes.said)

    @property
    def lacks_training(self) -> bool:
        """Whether it was counted in the bins of a training set that it was not given."""
        return bool(self._series.training) and self._training is None

    def compare_with(self, training: TrainingSet) -> None:
        self._training = training
        self._monitor = monitor_of(training, self._spec.drift, since=self.episodes.since)

    def merge(self, partial: PartialWindow, watermark: int, now: int) -> Iterator[Told]:
        """Take in a partial sum. Where its window has been told of, it is told of by itself."""
        yield from self._outliers(partial)
        if partial.start == UNTIMED or partial.start + self._spec.window_ms - 1 <= watermark:
            self._addition = next(self._additions)
            yield from self._messages(partial, (), now, late=True)
            return
        window = self.windows.get(partial.start)
        if window is None:
            window = self.windows[partial.start] = msgspec.structs.replace(partial, outliers=[])
        else:
            window.statistics.merge(partial.statistics)
            window.unreadable += partial.unreadable
            window.broken = {
                rule: window.broken.get(rule, 0) + partial.broken.get(rule, 0)
                for rule in {**window.broken, **partial.broken}
            }
        if self._spec.early:
            yield from self._drift(window, closed=False)[0]

    def close(self, watermark: int, now: int) -> Iterator[Told]:
        """Judge and tell of the windows that the watermark has passed, which leave the state."""
        for start in sorted(self.windows):
            if start + self._spec.window_ms - 1 > watermark:
                continue
            window = self.windows.pop(start)
            alerts, drifting = self._drift(window, closed=True)
            yield from alerts
            yield from self._anomalies(window)
            yield from self._messages(window, drifting, now)

    def _drift(self, window: PartialWindow, closed: bool) -> tuple[list[Alert], tuple[str, ...]]:
        if self._monitor is None or not window.statistics.rows:
            return [], ()
        found = self._monitor.judge(window.statistics, window.start, closed=closed)
        self.episodes.since = self._monitor.since
        alert = drift_alert(self._series.data_type, window.start, window.start + self._spec.window_ms, found)
        if closed:
            self._ended("drift/", alert.about, window.start)
        return self._news(alert), tuple(one.feature for one in found)

    def _anomalies(self, window: PartialWindow) -> list[Alert]:
        if self._training is None:
            return []
        known, ignored = self._training.table, self._spec.places.ignored.get(self._series.data_type, ())
        compared = {
            name: feature
            for name, feature in window.statistics.features.items()
            if name in known.features or not (name in ignored or name.startswith(SCORES))
        }
        table = TableStatistics(compared, window.statistics.rows, window.statistics.others)
        found = anomalies(known, table, self._spec.anomalies)
        alert = anomaly_alert(
            self._series.data_type, window.start, window.start + self._spec.window_ms, found
        )
        self._ended("", alert.about, window.start)
        return self._news(alert)

    def _ended(self, prefix: str, lasting: Sequence[str], start: int) -> None:
        """What was said and is no longer so. `prefix`: of what is meant; empty: all but drift."""
        self.episodes.said = {
            name: at
            for name, at in self.episodes.said.items()
            if name in lasting or at > start or name.startswith("drift/") is not bool(prefix)
        }

    def _news(self, alert: Alert) -> list[Alert]:
        """The alert, where it says something that was not said of this episode yet, or is due again. Of more
        findings than a message takes there are several."""
        said, again = self.episodes.said, self._spec.repeat_ms
        news = []
        for at in range(0, len(alert.about), MOST_TOLD):
            own = slice(at, at + MOST_TOLD)
            new = [n for n in alert.about[own] if n not in said or (again and alert.start - said[n] >= again)]
            if new:
                said.update(dict.fromkeys(new, alert.start))
                part = msgspec.structs.replace(
                    alert, drift=alert.drift[own], anomalies=alert.anomalies[own], about=tuple(new)
                )
                news.append(self._of_series(part))
        return news

    def _outliers(self, partial: PartialWindow) -> Iterator[Alert]:
        if partial.outliers:
            about = tuple(f"{o.rule}@{o.source}/{o.partition}/{o.offset}" for o in partial.outliers)
            end = partial.start + self._spec.window_ms
            alert = Alert(OUTLIER, self._series.data_type, partial.start, end, about=about)
            yield self._of_series(msgspec.structs.replace(alert, outliers=tuple(partial.outliers)))

    def _of_series(self, alert: Alert) -> Alert:
        return msgspec.structs.replace(alert, model=self._series.model, version=self._series.version)

    def _messages(
        self, window: PartialWindow, drifting: tuple[str, ...], now: int, late: bool = False
    ) -> Iterator[WindowStatistics]:
        untimed = window.start == UNTIMED
        head = WindowStatistics(
            of=self._spec.of,
            data_type=self._series.data_type,
            model=self._series.model,
            version=self._series.version,
            start=window.start,
            end=UNTIMED if untimed else window.start + self._spec.window_ms,
            rows=window.statistics.rows,
            unreadable=window.unreadable,
            training=self._series.training,
            sample=self._spec.sample,
            late=late,
            addition=self._addition if late else 0,
            drifting=drifting,
            broken=window.broken,
            others=window.statistics.others,
            at=now,
        )
        yield from messages(head, window.statistics)
