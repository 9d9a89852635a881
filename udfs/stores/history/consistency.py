"""Whether stores hold what batch computes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas.features.feature_batch import CREATED, TIMESTAMP
from udfs.features.base import Entity
from udfs.stores.online.base import Found, OnlineReader, State, StoredView

Row = tuple[Any, ...]
"""Entity, features in order, event time."""


@dataclass(slots=True)
class Comparison:
    """Of rows, or of entities that were sampled. `mismatched`: both have the entity and time, with other
    values; `missing`: batch alone has it; `extra`: the store alone. `late`: rows of entities of which the
    stream refused events as late, so that it cannot agree with batch; they are in no other count. `newer`:
    online only, the stream has gone on since. `examples` of what is wrong."""

    equal: int = 0
    mismatched: int = 0
    missing: int = 0
    extra: int = 0
    late: int = 0
    newer: int = 0
    expired: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def consistent(self) -> bool:
        return not (self.mismatched or self.missing or self.extra)

    def wrong(self, what: str, example: str) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if len(self.examples) < 5:
            self.examples.append(f"{what}: {example}")


def rows_of(batches: Iterable[pa.RecordBatch], view: StoredView) -> list[Row]:
    """Rows by declared columns. Of rows of one entity and time with several `created`, the last count."""
    names = [n for n, _ in view.entity] + [n for n, _ in view.features]
    rows: list[tuple[int, Row]] = []
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in (CREATED, *names, TIMESTAMP)]
        rows += [(values[0], values[1:]) for values in zip(*columns, strict=True)]
    last: dict[Row, int] = {}
    for created, row in rows:
        key = _key(row, view)
        last[key] = max(created, last.get(key, created))
    return [row for created, row in rows if last[_key(row, view)] == created]


def compare_history(
    computed: Sequence[Row], stored: Sequence[Row], view: StoredView, late: set[Entity]
) -> Comparison:
    """Up to the newest stored row: what becomes final later is not there yet."""
    until = max((row[-1] for row in stored), default=None)
    found = Comparison()
    if until is None:
        return found
    sides = []
    for rows in ([row for row in computed if row[-1] <= until], stored):
        kept = [row for row in rows if row[: len(view.entity)] not in late]
        found.late += len(rows) - len(kept)
        sides.append(Counter(map(comparable, kept)))
    batch, store = sides
    found.equal = sum((batch & store).values())
    keys = Counter(_key(row, view) for row in (batch - store).elements())
    for row in (store - batch).elements():
        key = _key(row, view)
        if keys[key]:
            keys[key] -= 1
            found.wrong("mismatched", f"stored {row}")
        else:
            found.wrong("extra", f"stored {row}")
    for key in keys.elements():
        found.wrong("missing", f"{key}")
    return found


def compare_online(
    computed: Sequence[Row],
    view: StoredView,
    reader: OnlineReader,
    late: set[Entity],
    *,
    now: int,
    sample: int,
) -> Comparison:
    """The newest row of some entities against what is served now."""
    width = len(view.entity)
    newest: Mapping[Row, Row] = {row[:width]: row for row in sorted(computed, key=lambda row: row[-1])}
    chosen = sorted(newest, key=repr)
    if len(chosen) > sample:
        chosen = random.Random(0).sample(chosen, sample)  # noqa: S311 - a sample is no secret
    found = Comparison()
    if not chosen:
        return found
    [answers] = reader.read([(view.id, [n for n, _ in view.features])], [chosen], now)
    for entity, answer in zip(chosen, answers, strict=True):
        _judge(found, newest[entity], answer, entity in late, now - view.ttl_ms)
    return found


def _judge(found: Comparison, row: Row, answer: Found, is_late: bool, oldest: int) -> None:
    served = (*row[: len(row) - 1 - len(answer.values)], *answer.values, answer.event_time)
    if is_late:
        found.late += 1
    elif row[-1] < oldest and answer.state is not State.PRESENT:
        found.expired += 1
    elif answer.state is State.MISSING:
        found.wrong("missing", f"{row}")
    elif answer.event_time > row[-1]:
        found.newer += 1
    elif comparable(served) == comparable(row):
        found.equal += 1
    else:
        found.wrong("mismatched", f"served {served}, computed {row}")


def _key(row: Row, view: StoredView) -> Row:
    return (*row[: len(view.entity)], row[-1])


def comparable(row: Row) -> Row:
    """Lists as tuples; NaN equal to itself; bits and not values, so that 0.0 is not -0.0."""
    return tuple(_plain(value) for value in row)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    return value.hex() if isinstance(value, float) else value
