"""Write visits as they happen, and what came of each a little later."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demo.feed import appear
from demo.lifecycle.visits import DATA_TYPE, FIELDS, TARGET, Visits

DELAY_S = 1.5
"""Between a visit and what came of it, at least."""
_BAD_IN = 400


@dataclass(frozen=True, slots=True)
class Visit:
    """`phase`: the stage of the demo in which it was written; `spoiled`: its line cannot be parsed."""

    number: int
    customer: str
    row: tuple[float, ...]
    buys: bool
    phase: int
    spoiled: bool


@dataclass(slots=True)
class VisitFeed:
    """Files of JSON lines in `records` and `outcomes`; each is whole as soon as its name is."""

    records: Path
    outcomes: Path
    seed: int
    sent: list[Visit] = field(default_factory=list)
    told: int = 0
    """How many of `sent` have had their outcome, the spoiled ones included."""
    visits: Visits = field(init=False)
    _rng: np.random.Generator = field(init=False)
    _due: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self.visits = Visits(self._rng)
        for folder in (self.records / DATA_TYPE, self.outcomes):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, count: int, phase: int, now: float) -> None:
        """`now`: seconds of any clock."""
        customers, rows, buys = self.visits.draw(count)
        first, lines = len(self.sent), []
        for k in range(count):
            bad = bool(self._rng.integers(_BAD_IN) == 0)
            visit = Visit(first + k, customers[k], tuple(rows[k].tolist()), bool(buys[k]), phase, bad)
            self.sent.append(visit)
            values = {"id": name_of(visit.number), "customer": visit.customer}
            text = json.dumps(values | dict(zip(FIELDS, visit.row, strict=True)))
            lines.append(text[: len(text) // 2] if bad else text)
        _put(self.records / DATA_TYPE / f"{first:09d}.jsonl", lines)
        self._due.append((now + DELAY_S, len(self.sent)))

    def tell(self, now: float, at_ms: int, decided: int) -> None:
        """Write the outcomes that are due, with the time `at_ms` (epoch milliseconds).

        `decided`: so many visits have come out; what comes of a visit comes later.
        """
        until = self.told
        while self._due and self._due[0][0] <= now and self._due[0][1] <= decided:
            until = self._due.popleft()[1]
        lines = [
            json.dumps({"id": name_of(v.number), TARGET: v.buys, "time": at_ms})
            for v in self.sent[self.told : until]
            if not v.spoiled
        ]
        if lines:
            _put(self.outcomes / f"{self.told:09d}.jsonl", lines)
        self.told = until

    @property
    def outstanding(self) -> int:
        return len(self.sent) - self.told


def name_of(number: int) -> str:
    return f"visit-{number:06d}"


def number_of(name: str) -> int:
    return int(name.rpartition("-")[2])


def _put(path: Path, lines: list[str]) -> None:
    appear(path, "".join(line + "\n" for line in lines).encode())
