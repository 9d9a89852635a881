"""The records that leave a serving job beside the results: dead letters, model events, statistics.

They are JSON objects, one a message or line, so that any consumer and a person can read them. Times are
epoch milliseconds, durations milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
import orjson

from schemas.output_batch import MESSAGE_LIMIT

T = TypeVar("T", "DeadLetter", "ModelEvent", "ModelToServeStats", "CandidateStats")


RAW_LIMIT = 700_000
"""Bytes of a record that a dead letter repeats; in base64 they stay below Kafka's default of 1 MB."""
NAME_LIMIT = 1000
"""Characters of a name, a reason or a header that a message repeats whole."""
_BESIDE = 10
"""Characters of JSON that a header has beside its name and value."""


class Outcome(StrEnum):
    """What became of a record."""

    SCORED = "scored"
    """A model scored it, or the plan decided it."""
    NO_MODEL = "no_model"
    """No model came within the bounds of `buffer`."""
    FAILED = "failed"
    """The model failed on this record; `reason` says how."""
    UNDECIDED = "undecided"
    """No policy of the plan could decide; `reason` says why."""


class EventKind(StrEnum):
    """What became of a published model or plan."""

    SERVED = "served"
    """It scores from now on; `reason` may hold notes on it."""
    REFUSED = "refused"
    """It changes nothing; `step` says where it failed, and `reason` why."""
    WITHDRAWN = "withdrawn"
    """It was taken back."""
    ALREADY_SERVED = "already_served"
    """The same version with the same content came once more."""
    SUPERSEDED = "superseded"
    """A newer version came before this one was loaded."""
    DECIDES = "decides"
    """The plan is in force."""
    ABANDONED = "fenced"
    """A call did not come back, and a fresh instance takes over; sent in the word of earlier releases."""
    QUARANTINED = "quarantined"
    """Attempts to load it, or calls of it, came to no end; it is set aside until it is published again."""
    NOT_APPLICABLE = "not_applicable"
    """The plan came to a job that has no use for it."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be scored, with its bytes (`raw`, `key` and header values in base64).

    `size` is the record's length in bytes. Of a record above `RAW_LIMIT`, `raw` holds the beginning: a
    message that the broker refuses would stop the job. The whole record is where its identity says. `raw` is
    None for a record without payload (a deletion); `headers` are pairs in the order in which they came, with
    a null value as None; `event_time` is None where the record has none. `cut` names the fields of which a
    part was left out. `columns`: `raw` is not what came in but the event's columns as JSON, as one
    view tells of it; others may have taken the event.
    """

    data_type: str
    source: str
    partition: int
    offset: int
    event_time: int | None
    code: str
    reason: str
    raw: str | None
    size: int
    key: str | None = None
    headers: list[tuple[str, str | None]] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    columns: bool = False


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """A model was served, refused (with the loading step and the reason), withdrawn, or known already.

    `signer`: the key that signed what was published; empty: nobody did, or nobody looked. `code`: of what is
    served, the version of the job's own code (the beginning of the digest of its sources); empty in messages
    of releases that did not tell it.
    """

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
    signer: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class ModelToServeStats:
    """How one model version has been used by one subtask since it was switched on.

    `usage` counts records, `duration_ms` is the time spent in `predict`, `min_ms`, `max_ms`, `p50_ms` and
    `p99_ms` are of one call (a micro-batch), by a KLL sketch (Karnin, Lang, Liberty, FOCS 2016).

    Of a candidate of speculative execution also: requests `declined`, calls abandoned on timeout (`fenced`),
    and how many of their threads are `stuck` now. Of a data type that jobs share by arms of experiments:
    records that were `left` to other jobs.
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
    batches: int
    failures: int
    duration_ms: float
    min_ms: float
    max_ms: float
    p50_ms: float
    p99_ms: float
    serving: bool = True
    declined: int = 0
    fenced: int = 0
    stuck: int = 0
    left: int = 0

    @property
    def key(self) -> str:
        """The key under which a compacted topic keeps only the newest of these."""
        return f"{self.data_type}/{self.name}/{self.version}/{self.subtask}"


@dataclass(frozen=True, slots=True)
class CandidateStats:
    """How one version of a candidate has fared in one subtask of the collector since it first answered.

    Counts of records: `asked` = `answered` + `late` + `declined` + `failed`. `wins`: decided by its answer
    alone, which a shadow never does; `disagreements`: took part in time, and answered other than was decided.
    `fenced`: of the late and failed, those whose call was abandoned. `version` 0: it has not
    answered yet, so that nobody knows which. `waited_p50_ms`, `waited_p99_ms`: from the request to the
    answer, over micro-batches, by a KLL sketch (Karnin, Lang, Liberty, FOCS 2016).
    """

    data_type: str
    candidate: str
    version: int
    digest: str
    subtask: int
    since: int
    at: int
    asked: int = 0
    answered: int = 0
    wins: int = 0
    disagreements: int = 0
    late: int = 0
    declined: int = 0
    failed: int = 0
    fenced: int = 0
    waited_p50_ms: float = 0.0
    waited_p99_ms: float = 0.0
    shadow: bool = False

    @property
    def key(self) -> str:
        """The key under which a compacted topic keeps only the newest of these."""
        return f"{self.data_type}/{self.candidate}/{self.version}/{self.subtask}/decided"


def encode(record: DeadLetter | ModelEvent | ModelToServeStats | CandidateStats) -> bytes:
    """As JSON, of at most `MESSAGE_LIMIT` bytes: what is longer is cut, the longest text first.

    This is the one place through which everything but results leaves, so that no sink is given a message that
    its topic does not take.
    """
    data = orjson.dumps(record)
    while len(data) > MESSAGE_LIMIT - NAME_LIMIT:
        record = _cut(record)
        data = orjson.dumps(record)
    return data


def _cut(record: Any) -> Any:
    """The record with half of its longest text, or without its longest header."""
    texts = {f.name: value for f in fields(record) if isinstance(value := getattr(record, f.name), str)}
    longest = max(texts, key=lambda name: len(orjson.dumps(texts[name])))
    headers = getattr(record, "headers", [])
    sizes = [len(name) + len(value or "") + _BESIDE for name, value in headers]
    if sum(sizes) > len(texts[longest]):
        at = sizes.index(max(sizes))
        many = sizes[at] * 2 < sum(sizes)
        kept = headers[: len(headers) // 2] if many else [*headers[:at], *headers[at + 1 :]]
        return replace(record, headers=kept, cut=_and(record.cut, "headers"))
    text = texts[longest]
    # base64 in fours, so that what is left can be read
    shorter = replace(record, **{longest: text[: len(text) // 8 * 4]})
    return replace(shorter, cut=_and(record.cut, longest)) if isinstance(record, DeadLetter) else shorter


def _and(names: list[str], name: str) -> list[str]:
    return names if name in names else [*names, name]


def decode(kind: type[T], data: bytes) -> T:
    """Read a record back; fields that a newer writer added are passed over.

    Raises `ValueError` where `data` is no JSON object, lacks a field, or has something else in one.
    """
    values: Any = orjson.loads(data)
    if not isinstance(values, dict):
        raise ValueError(f"a {kind.__name__} is a JSON object, not {type(values).__name__}")
    if isinstance(headers := values.get("headers"), dict):  # of releases that kept one of a name
        values["headers"] = list(headers.items())
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as e:
        raise ValueError(f"not a {kind.__name__}: {e}") from None
