"""The story: houses of twelve districts are listed and sold, and some are to be valued at its end.

The price of a square metre is the district's level at that time plus what the house is worth for itself,
which scikit-learn generates. Nobody tells the level: only the district's recent sales do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.house.plan import DAY_MS, DISTRICTS, MODEL, TARGET, TEST, TRAIN

DAYS = 60
_WARM_DAYS = 15
"""Sales before are no examples: the windows of two weeks are not full yet."""
_LATE_MS = 50 * 60_000
_TWICE = 0.005
_LATE = 0.05
_UNLISTED = 0.05
_SPOILED = 0.01
_LAST = "last"
"""The house, sale and district of the events that end the story: what nothing follows never becomes final."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What must come of it. `newest`: district -> time of its last sale; `known`: request -> its row among
    the labels; `unlisted`: requests for houses that nobody knows; `spoiled`: records that are no requests;
    `twice`: sales that were reported twice."""

    sales: int
    listings: int
    twice: int
    newest: dict[str, int]
    known: dict[str, int]
    unlisted: list[str]
    spoiled: int

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @staticmethod
    def read(file: Path) -> Facts:
        return Facts(**json.loads(file.read_text()))


@dataclass(frozen=True, slots=True)
class _Houses:
    """n houses: `traits` by name, `worth` in euros a square metre, index of the `district`."""

    traits: dict[str, NDArray]
    worth: NDArray
    district: NDArray


def tell(folder: Path, seed: int, sales: int, requests: int) -> Facts:
    """Write `sales/DAY.jsonl`, `listings/DAY.jsonl` (of 61 days each), `requests.jsonl`, `labels.parquet` and
    `facts.json`. But for the date, the same seed tells the same story."""
    rng = np.random.default_rng(seed)
    end = int(time.time() * 1000) // DAY_MS * DAY_MS - DAY_MS
    start = end - DAYS * DAY_MS
    houses = _houses(rng, seed, sales + requests)
    levels = _levels(rng)
    sold = np.sort(rng.integers(0, DAYS * DAY_MS, sales)) + start
    wanted = np.full(requests, end)
    at = np.concatenate([sold, wanted])
    price = houses.worth + levels(houses.district, (at - start) / DAY_MS)
    listed = np.maximum(at - rng.integers(2 * DAY_MS, 20 * DAY_MS, len(at)), start)
    unlisted = np.zeros(len(at), bool)
    unlisted[sales:] = rng.random(requests) < _UNLISTED

    area = houses.traits["area"]
    reports: list[dict[str, Any]] = [
        {
            "sale": f"s{i}",
            "district": _district(houses.district[i]),
            "at": int(sold[i]),
            "area": float(area[i]),
            "price": round(float(price[i] * area[i]), 2),
        }
        for i in range(sales)
    ]
    again = [r for r in reports if rng.random() < _TWICE]
    last = end + 2 * 3_600_000
    closing = {"sale": _LAST, "district": _LAST, "at": last, "area": 1.0, "price": 1.0}
    _write_days(folder / "sales", rng, [*reports, *again], start, closing)
    listings: list[dict[str, Any]] = [
        {"house": f"h{i}", "at": int(listed[i]), **{name: float(of[i]) for name, of in houses.traits.items()}}
        for i in np.flatnonzero(~unlisted)
    ]
    nowhere: dict[str, Any] = {"house": _LAST, "at": last, **dict.fromkeys(houses.traits, 1.0)}
    _write_days(folder / "listings", rng, listings, start, nowhere)

    examples = np.flatnonzero((at >= start + _WARM_DAYS * DAY_MS) & ~unlisted)
    asked = np.where(examples >= sales, at[examples], at[examples] - DAY_MS)
    labels = {
        "row": np.arange(len(examples)),
        "part": np.where(examples >= sales, TEST, TRAIN),
        "house": [f"h{i}" for i in examples],
        "district": [_district(d) for d in houses.district[examples]],
        TARGET: price[examples],
    }
    _write_labels(folder / "labels.parquet", labels, asked)
    spoiled = _write_requests(folder / "requests.jsonl", rng, houses.district, sales)
    rows = {int(i): row for row, i in enumerate(examples)}
    facts = Facts(
        sales=sales,
        listings=len(listings),
        twice=len(again),
        newest={r["district"]: r["at"] for r in reports},
        known={_request(i): rows[i] for i in range(sales, len(at)) if not unlisted[i]},
        unlisted=[_request(int(i)) for i in np.flatnonzero(unlisted)],
        spoiled=spoiled,
    )
    facts.write(folder / "facts.json")
    return facts


def _houses(rng: np.random.Generator, seed: int, count: int) -> _Houses:
    from sklearn.datasets import make_regression  # noqa: PLC0415 - takes seconds

    x, y = make_regression(count, 4, n_informative=4, noise=20.0, random_state=seed)
    traits = {
        "area": np.round(np.clip(100 + 25 * x[:, 0], 20, None), 1),
        "rooms": np.round(np.clip(4 + 1.5 * x[:, 1], 1, None)),
        "age": np.round(np.clip(40 + 18 * x[:, 2], 0, None)),
        "garden": np.round(np.clip(200 + 90 * x[:, 3], 0, None)),
    }
    return _Houses(traits, 350 * y / y.std(), rng.integers(0, DISTRICTS, count))


def _levels(rng: np.random.Generator) -> Any:
    """(district, days since the start) -> euros a square metre: a random walk with a drift."""
    steps = rng.normal(rng.normal(0, 15, (DISTRICTS, 1)), 20, (DISTRICTS, DAYS + 1))
    levels = rng.uniform(3000, 7000, (DISTRICTS, 1)) + np.cumsum(steps, axis=1)

    def of(district: NDArray, day: NDArray) -> NDArray:
        before = np.minimum(day.astype(int), DAYS - 1)
        share = day - before
        return levels[district, before] * (1 - share) + levels[district, before + 1] * share

    return of


def _write_days(
    folder: Path, rng: np.random.Generator, events: Sequence[dict[str, Any]], start: int, last: dict[str, Any]
) -> None:
    """By day of arrival, in the order of arrival; some come late. `last` is a day of its own."""
    folder.mkdir()
    late = np.where(rng.random(len(events)) < _LATE, rng.integers(0, _LATE_MS, len(events)), 0)
    arrived = np.array([event["at"] for event in events]) + late
    days: list[list[str]] = [[] for _ in range(DAYS)]
    for i in np.argsort(arrived, kind="stable"):
        day = min(int(arrived[i] - start) // DAY_MS, DAYS - 1)
        days[day].append(json.dumps(events[i]))
    for number, lines in enumerate([*days, [json.dumps(last)]]):
        (folder / f"day-{number:02d}.jsonl").write_text("".join(line + "\n" for line in lines))


def _write_labels(file: Path, labels: dict[str, Any], asked: NDArray) -> None:
    """A sold house as it could have been valued the day before; one to be valued, at the end. `asked`: epoch
    milliseconds."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    times = pa.array(asked * 1000, pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({**labels, "event_timestamp": times}), file)


def _write_requests(file: Path, rng: np.random.Generator, districts: NDArray, first: int) -> int:
    """How many lines, beside the requests, are none."""
    lines, spoiled = [], 0
    for i in range(first, len(districts)):
        entities = {"house": f"h{i}", "district": _district(districts[i])}
        line = json.dumps({"id": _request(i), "model": MODEL, "entities": entities, "expires_ms": 60_000})
        lines.append(line)
        if rng.random() < _SPOILED:
            lines.append(line[: len(line) // 2])
            spoiled += 1
    file.write_text("".join(line + "\n" for line in lines))
    return spoiled


def _district(number: int) -> str:
    return f"d{number + 1:02d}"


def _request(number: int) -> str:
    return f"r{number}"
