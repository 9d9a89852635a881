"""Read what the job writes as it becomes visible, and keep the account."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from demo.feed import numbered
from demo.plan import TARGET
from schemas.results.records import DeadLetter, EventKind, ModelEvent, ModelToServeStats, Outcome, decode
from schemas.results.results import Scored, read_result
from udfs.io.folder_files import visible_files

Version = tuple[str, int]
"""Data type and version."""


class Result(NamedTuple):
    """One result: where its record came from, who stamped it, and what the scores are."""

    source: str
    line: int
    data_type: str
    version: int
    digest: str
    outcome: Outcome
    scores: Mapping[str, Any]
    event_time: int
    visible: float
    """When it could be read from the folder of results, in epoch ms."""

    @classmethod
    def of(cls, r: Scored, visible: float) -> Result:
        place = numbered(r.source, r.offset)
        return cls(*place, r.data_type, r.version, r.digest, r.outcome, r.scores, r.event_time or 0, visible)


@dataclass(slots=True)
class Tally:
    """How one model version has done."""

    results: int = 0
    correct: int = 0

    @property
    def accuracy(self) -> float | None:
        return self.correct / self.results if self.results else None


@dataclass(slots=True)
class NewLines:
    """The lines of outputs in the folder `root`, each once."""

    root: Path
    _read: set[Path] = field(default_factory=set)

    def of(self, output: str) -> Iterator[tuple[bytes, float]]:
        """What has become visible since the last call, and when, in epoch ms."""
        for path in visible_files(self.root / output):
            if path not in self._read:
                self._read.add(path)
                # Flink renames a file when its checkpoint is complete: a change of the inode only.
                visible = path.stat().st_ctime_ns / 1e6
                for line in path.read_bytes().splitlines():
                    yield line, visible


@dataclass(slots=True)
class Watch:
    """The account of a work folder; `look` brings it up to date. `classes`: by data type, in order."""

    root: Path
    classes: Mapping[str, tuple[str, ...]]
    results: list[Result] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    events: list[ModelEvent] = field(default_factory=list)
    stats: dict[Version, ModelToServeStats] = field(default_factory=dict)
    tallies: dict[Version, Tally] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    unscored: Counter[str] = field(default_factory=Counter)
    arrivals: deque[tuple[float, str, int]] = field(default_factory=deque)
    """When how many results of a type became visible."""
    _lines: NewLines = field(init=False)

    def __post_init__(self) -> None:
        self._lines = NewLines(self.root)

    @property
    def accounted(self) -> int:
        return len(self.results) + len(self.dead)

    def look(self) -> list[ModelEvent]:
        """Take in the files that have become visible. Returns the model events among them."""
        for line, visible in self._lines.of("results"):
            self._take(line, visible)
        for line, _ in self._lines.of("dead-letters"):
            letter = decode(DeadLetter, line)
            self.dead.append(letter)
            self.reasons[letter.code] += 1
        for line, _ in self._lines.of("model-stats"):
            stats = decode(ModelToServeStats, line)
            self.stats[(stats.data_type, stats.version)] = stats
        news = [decode(ModelEvent, line) for line, _ in self._lines.of("model-events")]
        self.events += sorted(news, key=lambda event: event.at)
        return news

    def event(self, data_type: str, version: int) -> ModelEvent | None:
        """The event that says whether this version is served or refused."""
        ends = (EventKind.SERVED, EventKind.REFUSED)
        found = (
            e for e in self.events if e.kind in ends and (e.data_type, e.version) == (data_type, version)
        )
        return next(found, None)

    def serving(self, data_type: str) -> int:
        """The version that scores a type, 0 before there is one."""
        served = (
            e.version
            for e in reversed(self.events)
            if e.kind is EventKind.SERVED and e.data_type == data_type
        )
        return next(served, 0)

    def _take(self, line: bytes, visible: float) -> None:
        r = read_result(line)
        self.results.append(Result.of(r, visible))
        if self.arrivals and self.arrivals[-1][:2] == (visible, r.data_type):
            visible_at, name, count = self.arrivals.pop()
            self.arrivals.append((visible_at, name, count + 1))
        else:
            self.arrivals.append((visible, r.data_type, 1))
        if r.outcome is not Outcome.SCORED:
            self.unscored[r.outcome.value] += 1
            return
        tally = self.tallies.setdefault((r.data_type, r.version), Tally())
        tally.results += 1
        tally.correct += said(r.scores, self.classes[r.data_type]) == r.record.get("label")


def said(scores: Mapping[str, Any], classes: tuple[str, ...]) -> str:
    """The class that scores speak for: named by a PMML model, else the most probable one."""
    if named := scores.get(f"predicted_{TARGET}"):
        return str(named)
    probability = scores["probability"]
    return classes[max(range(len(probability)), key=probability.__getitem__)]


def raw_of(letter: DeadLetter) -> bytes:
    """The record's bytes."""
    import base64  # noqa: PLC0415

    return base64.b64decode(letter.raw or "")
