"""Results and outcomes for tests, and the store of a join in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from schemas.lifecycle.quality import QualityRecord
from schemas.micro_batch import MicroBatch
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.quality.windows import QualityKey

JUDGING = Judging(
    score="p",
    label="bought",
    time="at",
    entity="customer",
    fields={"country": "string", "amount": "float64", "count": "int64"},
    slices=("country",),
    metrics=("revenue",),
)


def result(
    offset: int, event_time: int, score: float | None = 0.5, *, version: int = 1, **more: Any
) -> dict[str, Any]:
    """A result as a job writes it. `more`: fields of the record; `stamp`: of the stamp."""
    stamp: dict[str, Any] = {"data_type": "wine", "outcome": "scored", "model": "forest", "version": version}
    stamp |= {"digest": "ab12", "ms": 0.5, "scores": {"p": score}, "source": "wine", "partition": 0}
    stamp |= {"offset": offset, "event_time": event_time}
    stamp |= more.pop("stamp", {})
    if score is None:
        stamp |= {"outcome": "failed", "scores": {}, "reason": "it failed"}
    record = {"id": offset, "customer": f"c{offset % 7}", "country": "de", "amount": 1.5, "count": 3}
    return {**record, **more, "millrace": stamp}


def outcome(offset: int, at: int, bought: Any = True, **more: Any) -> dict[str, Any]:
    """An outcome of the result of an offset."""
    return {"source": "wine", "partition": 0, "offset": offset, "bought": bought, "at": at, **more}


def batch(
    messages: Iterable[Any], times: int | list[int] = 0, source: str = "t", first: int = 0
) -> MicroBatch:
    """A micro-batch of messages; bytes stay as they are. `first`: its first offset."""
    payloads = [m if isinstance(m, bytes) else orjson.dumps(m) for m in messages]
    n = len(payloads)
    stamps = times if isinstance(times, list) else [times] * n
    return MicroBatch(source, source, payloads, [0] * n, list(range(first, first + n)), stamps)


class MemoryStore:
    """What a join keeps, in a dict."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.reminders: list[tuple[str, int, int, list[str]]] = []

    def read(self, wanted: Mapping[int, Iterable[str]]) -> dict[int, list[bytes | None]]:
        return {group: [self.entries.get(f"{group}:{key}") for key in keys] for group, keys in wanted.items()}

    def write(self, changes: Mapping[int, Mapping[str, bytes | None]]) -> None:
        for group, entries in changes.items():
            for key, entry in entries.items():
                if entry is None:
                    self.entries.pop(f"{group}:{key}", None)
                else:
                    self.entries[f"{group}:{key}"] = entry

    def remind(self, reminders: Mapping[tuple[str, int, int], Sequence[str]]) -> None:
        self.reminders += [(*due, list(keys)) for due, keys in reminders.items()]

    def due(self, kind: str, reached: int) -> Iterator[tuple[int, list[str]]]:
        found = [r for r in self.reminders if r[0] == kind and r[1] <= reached]
        self.reminders = [r for r in self.reminders if r not in found]
        yield from ((group, keys) for _, _, group, keys in found)


def key_of(record: QualityRecord) -> QualityKey:
    """What a message is of."""
    named = {name: getattr(record, name) for name in QualityKey.__struct_fields__ if name != "slices"}
    return QualityKey(**named, slices=tuple(sorted(record.slices.items())))
