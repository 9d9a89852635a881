"""Predictions and outcomes as they travel to the instance of their key, and lie in its state.

Msgpack with a version, so that a savepoint outlives the code. Times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from schemas.errors import StateError
from schemas.versioned import decoded, read_versioned

VERSION = 2


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


Packed = msgspec.Raw
"""A `Predicted` as bytes. Most of the time it only travels and waits: it is packed once, where it is read,
and unpacked where it meets its outcome."""


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
    """To one instance: predictions (with their event times) or outcomes with their keys, by key group, so
    that state is asked for one key group after the other. `passed_over`: results of data types that nobody
    judges, and `refused` what became dead letters, told to one instance of the reader's choice. `reached`: to
    all, how far `reader` (NUMBER/COUNT) has read the topic; no other delivery names it."""

    predictions: dict[int, list[tuple[str, int, Packed]]] = {}
    outcomes: dict[int, list[tuple[str, Came]]] = {}
    passed_over: int = 0
    refused: int = 0
    reader: str = ""
    reached: int = 0


class Waiting(msgspec.Struct, array_like=True, gc=False):
    """A prediction until its window closes. `value` and `text`: the outcome in force, where `revision`
    outcomes have been in force so far. `metrics`: that outcome's, where it has any, or evidence is told once
    the window closes; else None."""

    packed: Packed
    due: int
    revision: int = 0
    value: float = 0.0
    text: str = ""
    time: int = 0
    metrics: dict[str, float] | None = None


class Kept(msgspec.Struct, array_like=True, gc=False):
    """An outcome that waits for predictions of its key. `outside`: one came, whose window it misses."""

    came: Came
    due: int
    joined: bool = False
    outside: bool = False


class KeyEntry(msgspec.Struct, array_like=True, gc=False):
    """What is kept under one key. `past`: of predictions that were given up, until when a repeat of them is
    known, and their identities, empty where the key is that."""

    predictions: list[Waiting] = []
    outcomes: list[Kept] = []
    version: int = VERSION
    past: list[tuple[int, str]] = []


def pack(predicted: Predicted) -> Packed:
    return Packed(_ENCODER.encode(predicted))


def unpack(packed: Packed) -> Predicted:
    """Raises `StateError` for other bytes."""
    return decoded(_PREDICTIONS.decode, packed, "these bytes are no prediction", StateError)


def decode_entry(data: bytes) -> KeyEntry:
    """Raises `StateError` for other bytes and for a newer version."""
    entry = read_versioned(_ENTRIES.decode, data, "waiting predictions", VERSION)
    entry.version = VERSION  # as it is written from now on
    return entry


_ENCODER = msgspec.msgpack.Encoder()
encode: Callable[[Delivery | KeyEntry], bytes] = _ENCODER.encode
decode_delivery: Callable[[bytes], Delivery] = msgspec.msgpack.Decoder(Delivery).decode
_ENTRIES = msgspec.msgpack.Decoder(KeyEntry)
_PREDICTIONS = msgspec.msgpack.Decoder(Predicted)
