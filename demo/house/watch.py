"""Read what the jobs write as it becomes visible, and what Redis serves, and keep the account."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from demo.house.plan import DECLARATIONS, PREDICTED, Folders
from demo.watch import NewLines, Served
from schemas.results.records import DeadLetter, EventKind, ModelEvent, Outcome, decode
from schemas.results.results import Scored, read_result
from udfs.features.loading import load_declarations
from udfs.io.folder_files import visible_files
from udfs.stores.online.base import Found, RedisOptions, State
from udfs.stores.online.redis_reader import RedisReader
from udfs.stores.stored_views import stored_views

PRICES, HOUSES = "district_prices_v1", "houses_v1"
SHOWN = ("sold_14d", "mean_m2_14d", "trend_14d")


@dataclass(slots=True)
class HouseWatch:
    """The account of a work folder; `look` brings it up to date. `close` it."""

    folders: Folders
    store: RedisOptions
    history: dict[str, int] = field(default_factory=lambda: {PRICES: 0, HOUSES: 0})
    """Rows by view."""
    refused: list[DeadLetter] = field(default_factory=list)
    assembled: list[dict[str, Any]] = field(default_factory=list)
    expired: list[dict[str, Any]] = field(default_factory=list)
    no_requests: list[DeadLetter] = field(default_factory=list)
    scoring: Served[Scored] = field(init=False)
    _files: set[Path] = field(default_factory=set)
    _reader: RedisReader = field(init=False)
    _lines: tuple[NewLines, NewLines] = field(init=False)

    def __post_init__(self) -> None:
        self._reader = RedisReader(stored_views(load_declarations(DECLARATIONS), "online"), self.store)
        f = self.folders
        self.scoring = Served(f.scoring, lambda line, visible: read_result(line))
        self._lines = (NewLines(f.features), NewLines(f.requests))

    @property
    def outcomes(self) -> int:
        """Of lines that came as requests."""
        return len(self.assembled) + len(self.expired) + len(self.no_requests)

    def look(self) -> list[str]:
        """Take in the files that have become visible. Returns what is to be told of model events."""
        for view in self.history:
            for file in visible_files(self.folders.history / view):
                if file not in self._files:
                    self._files.add(file)
                    self.history[view] += pq.read_metadata(file).num_rows
        features, requests = self._lines
        self.refused += [decode(DeadLetter, line) for line, _ in features.of("dead-letters")]
        self.assembled += [orjson.loads(line) for line, _ in requests.of("assembled")]
        self.expired += [orjson.loads(line) for line, _ in requests.of("expired")]
        self.no_requests += [decode(DeadLetter, line) for line, _ in requests.of("dead-letters")]
        _, news = self.scoring.look()
        return [_told(event) for event in news]

    def served(self, districts: Sequence[str]) -> list[Found]:
        """What Redis says now of each: the features SHOWN."""
        entities = [(name,) for name in districts]
        return self._reader.read([(PRICES, SHOWN)], [entities], time.time_ns() // 1_000_000)[0]

    def prices(self) -> dict[str, float]:
        """Request -> the price that came out, of those that were scored."""
        scored = (one for one in self.scoring.results if one.outcome is Outcome.SCORED)
        return {one.record["id"]: one.scores[PREDICTED] for one in scored}

    def close(self) -> None:
        self._reader.close()


def _told(event: ModelEvent) -> str:
    why = f" at step {event.step}: {event.reason}" if event.kind is EventKind.REFUSED else ""
    return f"{event.name} v{event.version} {event.kind.value}{why}"


def newest(found: Sequence[Found]) -> list[int]:
    """Event times in epoch milliseconds, 0 where there is nothing."""
    return [one.event_time if one.state is State.PRESENT else 0 for one in found]
