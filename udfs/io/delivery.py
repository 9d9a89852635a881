"""How outputs reach Kafka."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivery:
    """`exactly_once`: outputs appear to read-committed readers at checkpoints; else at once, and a repeat is
    possible after a failure. `prefix` names the job's transactions and must be its own; `timeout_ms` covers
    the longest outage."""

    exactly_once: bool
    prefix: str
    timeout_ms: int = 600_000
