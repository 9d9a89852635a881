"""When records become micro-batches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gathering:
    """When a micro-batch is closed: at `max_records` or `max_bytes`; else `min_ms` after the one before it,
    more where the processors are busy, once the next operator has taken that one, and after `max_ms` in any
    case. See `operators/jvm/millrace/MicroBatcher.java`.

    `sample`: the share of the records that is gathered, the same ones whenever they are read; the others are
    left out before they cost anything.
    """

    max_records: int = 1024
    max_bytes: int = 4 << 20
    min_ms: int = 5
    max_ms: int = 50
    sample: float = 1.0
