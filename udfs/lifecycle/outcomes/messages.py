"""Predictions and outcomes as they travel to the instance of their key, and lie in its state.

Msgpack with a version, so that a savepoint outlives the code. Times are epoch milliseconds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.versioned import read_versioned

VERSION = 1


class Predicted(msgspec.Struct, array_like=True, gc=False):
    """One result, as far as it is kept. `scoring`: its outcome. `fields`: of its record, those that are
    declared. `scores`, `features`, `experiments` and `answers`: JSON, empty where there is none. `score` is
    None where none can be judged."""

    data_type: str
    source: str
    partition: int
    offset: int
    event_time: int
    model: str
    version: int
    digest: str
    scoring: str
    ms: float
    score: float | None
    scores: str
    entity: str = ""
    fields: dict[str, Any] = {}
    features: str = ""
    rule: str = ""
    plan: str = ""
    plan_version: int = 0
    experiments: str = ""
    answers: str = ""

    @property
    def identity(self) -> tuple[str, int, int]:
        return self.source, self.partition, self.offset


class Came(msgspec.Struct, array_like=True, gc=False):
    """One outcome. `value` as a number, `text` as it came, in JSON; `read_at`: the time of its message.

    `raw`: the whole message, until it has met a prediction; source, partition and offset are its own.
    """

    data_type: str
    time: int
    value: float
    text: str
    read_at: int
    source: str
    partition: int
    offset: int
    raw: bytes = b""
    metrics: dict[str, float] = {}


class Delivery(msgspec.Struct, array_like=True, gc=False):
    """To one instance: predictions or outcomes with their keys, by key group, so that state is asked for one
    key group after the other. `passed_over`: results of data types that nobody judges, and `refused` what
    became dead letters, told to one instance of the reader's choice. `reached`: to all, how far `reader`
    (NUMBER/COUNT) has read the topic; no other delivery names it."""

    predictions: dict[int, list[tuple[str, Predicted]]] = {}
    outcomes: dict[int, list[tuple[str, Came]]] = {}
    passed_over: int = 0
    refused: int = 0
    reader: str = ""
    reached: int = 0


class Waiting(msgspec.Struct, array_like=True, gc=False):
    """A prediction until its window closes. `value` and `text`: the outcome in force, where `revision`
    outcomes have been in force so far."""

    predicted: Predicted
    due: int
    revision: int = 0
    value: float = 0.0
    text: str = ""
    time: int = 0


class Kept(msgspec.Struct, array_like=True, gc=False):
    """An outcome that waits for predictions of its key. `outside`: one came, whose window it misses."""

    came: Came
    due: int
    joined: bool = False
    outside: bool = False


class KeyEntry(msgspec.Struct, array_like=True, gc=False):
    """What is kept under one key."""

    predictions: list[Waiting] = []
    outcomes: list[Kept] = []
    version: int = VERSION


def encode(message: Delivery | KeyEntry) -> bytes:
    return _ENCODER.encode(message)


def decode_delivery(data: bytes) -> Delivery:
    return _DELIVERIES.decode(data)


def decode_entry(data: bytes) -> KeyEntry:
    """Raises `StateError` for other bytes and for a newer version."""
    return read_versioned(_ENTRIES.decode, data, "waiting predictions", VERSION)


_ENCODER = msgspec.msgpack.Encoder()
_DELIVERIES = msgspec.msgpack.Decoder(Delivery)
_ENTRIES = msgspec.msgpack.Decoder(KeyEntry)
