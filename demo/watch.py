"""Read what the job writes as it becomes visible, and keep the account."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from demo.feed import numbered
from demo.plan import TARGET
from schemas.results.records import DeadLetter, EventKind, ModelEvent, ModelToServeStats, Outcome, decode
from schemas.results.results import Scored, read_result
from udfs.io.folder_files import visible_files

R = TypeVar("R")
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
    label: str = ""

    @classmethod
    def of(cls, r: Scored, visible: float = 0.0) -> Result:
        source, line = numbered(r.source, r.offset)
        at, label = r.event_time or 0, r.record.get("label", "")
        return cls(source, line, r.data_type, r.version, r.digest, r.outcome, r.scores, at, visible, label)


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

    def of(self, output: str | Path) -> Iterator[tuple[bytes, float]]:
        """What has become visible since the last call, and when, in epoch ms."""
        for path in visible_files(self.root / output):
            if path not in self._read:
                self._read.add(path)
                # Flink renames a file when its checkpoint is complete: a change of the inode only.
                visible = path.stat().st_ctime_ns / 1e6
                for line in path.read_bytes().splitlines():
                    yield line, visible


@dataclass(slots=True)
class Served(Generic[R]):
    """The account of what a job that serves models writes into the folder `root`.

    `read` makes a result of a line, and of the time from which it could be read, in epoch ms.
    """

    root: Path
    read: Callable[[bytes, float], R]
    results: list[R] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    events: list[ModelEvent] = field(default_factory=list)
    lines: NewLines = field(init=False)

    def __post_init__(self) -> None:
        self.lines = NewLines(self.root)

    @property
    def accounted(self) -> int:
        return len(self.results) + len(self.dead)

    def look(self) -> tuple[list[R], list[ModelEvent]]:
        """Take in the files that have become visible. Returns the results and the model events in them."""
        results = [self.read(line, visible) for line, visible in self.lines.of("results")]
        self.results += results
        self.dead += [decode(DeadLetter, line) for line, _ in self.lines.of("dead-letters")]
        news = [decode(ModelEvent, line) for line, _ in self.lines.of("model-events")]
        self.events += sorted(news, key=lambda event: event.at)
        return results, news

    def told(self, kind: EventKind, what: str | int) -> bool:
        """Whether there is such an event about a model or plan of this name or version."""
        return any(event.kind is kind and what in (event.name, event.version) for event in self.events)


@dataclass(slots=True)
class Watch:
    """The account of a work folder; `look` brings it up to date. `classes`: by data type, in order."""

    root: Path
    classes: Mapping[str, tuple[str, ...]]
    stats: dict[Version, ModelToServeStats] = field(default_factory=dict)
    tallies: dict[Version, Tally] = field(default_factory=dict)
    arrivals: deque[tuple[float, str, int]] = field(default_factory=deque)
    """When how many results of a type became visible."""
    served: Served[Result] = field(init=False)

    def __post_init__(self) -> None:
        self.served = Served(self.root, lambda line, visible: Result.of(read_result(line), visible))

    @property
    def reasons(self) -> Counter[str]:
        """Of dead letters."""
        return Counter(letter.code for letter in self.served.dead)

    def look(self) -> list[str]:
        """Take in the files that have become visible. Returns what is to be told of model events."""
        results, news = self.served.look()
        for result in results:
            self._take(result)
        for line, _ in self.served.lines.of("model-stats"):
            stats = decode(ModelToServeStats, line)
            self.stats[(stats.data_type, stats.version)] = stats
        return [_told(event) for event in news]

    def event(self, data_type: str, version: int) -> ModelEvent | None:
        """The event that says whether this version is served or refused."""
        ends, key = (EventKind.SERVED, EventKind.REFUSED), (data_type, version)
        events = self.served.events
        return next((e for e in events if e.kind in ends and (e.data_type, e.version) == key), None)

    def serving(self, data_type: str) -> int:
        """The version that scores a type, 0 before there is one."""
        events = (e for e in self.served.events if e.kind is EventKind.SERVED and e.data_type == data_type)
        return [0, *(event.version for event in events)][-1]

    def _take(self, r: Result) -> None:
        if self.arrivals and self.arrivals[-1][:2] == (r.visible, r.data_type):
            self.arrivals.append((r.visible, r.data_type, self.arrivals.pop()[2] + 1))
        else:
            self.arrivals.append((r.visible, r.data_type, 1))
        if r.outcome is Outcome.SCORED:
            tally = self.tallies.setdefault((r.data_type, r.version), Tally())
            tally.results += 1
            tally.correct += said(r.scores, self.classes[r.data_type]) == r.label


def _told(event: ModelEvent) -> str:
    about = f"{event.data_type} v{event.version} is {event.kind.value}"
    if event.kind is EventKind.REFUSED:
        return f"{about} at step {event.step}: {event.reason}"
    return f"{about} (loaded in {event.load_ms:,.0f} ms)"


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
