"""The records that leave a serving job beside the results: dead letters, model events, statistics.

They are JSON objects, one a message or line, so that any consumer and a person can read them. Times are
epoch milliseconds, durations milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import orjson

T = TypeVar("T", "DeadLetter", "ModelEvent", "ModelToServeStats")


RAW_LIMIT = 700_000
"""Bytes of a record that a dead letter repeats; in base64 they stay below Kafka's default of 1 MB."""


class Outcome(StrEnum):
    """What became of a record."""

    SCORED = "scored"
    NO_MODEL = "no_model"
    FAILED = "failed"


class EventKind(StrEnum):
    """What became of an announced model."""

    SERVED = "served"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    ALREADY_SERVED = "already_served"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be scored, with its bytes (`raw`, `key` and header values in base64).

    `size` is the record's length in bytes. Of a record above `RAW_LIMIT`, `raw` holds the beginning: a
    message that the broker refuses would stop the job. The whole record is where its identity says.
    """

    data_type: str
    source: str
    partition: int
    offset: int
    event_time: int
    code: str
    reason: str
    raw: str
    size: int
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """A model was served, refused (with the loading step and the reason), withdrawn, or known already."""

    kind: EventKind
    data_type: str
    name: str
    version: int
    digest: str
    at: int
    subtask: int
    step: str = ""
    reason: str = ""
    load_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelToServeStats:
    """How one model version has been used by one subtask since it was switched on.

    `usage` counts records, `duration_ms` is the time spent in `predict`, `min_ms`, `max_ms`, `p50_ms` and
    `p99_ms` are of one call (a block), by a KLL sketch (Karnin, Lang, Liberty, FOCS 2016).
    """

    name: str
    description: str
    data_type: str
    model_type: str
    version: int
    digest: str
    since: int
    at: int
    subtask: int
    usage: int
    blocks: int
    failures: int
    duration_ms: float
    min_ms: float
    max_ms: float
    p50_ms: float
    p99_ms: float
    serving: bool = True

    @property
    def key(self) -> str:
        """The key under which a compacted topic keeps only the newest of these."""
        return f"{self.data_type}/{self.name}/{self.version}/{self.subtask}"


def encode(record: DeadLetter | ModelEvent | ModelToServeStats) -> bytes:
    return orjson.dumps(record)


def decode(kind: type[T], data: bytes) -> T:
    """Read a record back; fields that a newer writer added are passed over.

    Raises `ValueError` where `data` is no JSON object or lacks a field.
    """
    values: Any = orjson.loads(data)
    if not isinstance(values, dict):
        raise ValueError(f"a {kind.__name__} is a JSON object, not {type(values).__name__}")
    known = {name: values[name] for name in kind.__dataclass_fields__ if name in values}
    try:
        record = kind(**known)
    except TypeError as e:
        raise ValueError(f"not a {kind.__name__}: {e}") from None
    if isinstance(record, ModelEvent):
        object.__setattr__(record, "kind", EventKind(record.kind))
    return record
