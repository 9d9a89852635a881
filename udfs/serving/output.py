"""What a scoring operator sends on: results, dead letters, events and statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.codecs.base import Code
from schemas.message_columns import Messages
from schemas.micro_batch import Headers, MicroBatch
from schemas.output_batch import MESSAGE_LIMIT
from schemas.results.dead_letter import dead_letter
from schemas.results.records import CandidateStats, DeadLetter, ModelEvent, ModelToServeStats
from schemas.tensors import BadRecord
from udfs.serving.scoring import ScoredRecords


@dataclass(frozen=True, slots=True)
class Results:
    """n results of neighbouring records. `event_times` in epoch milliseconds, None where there is none;
    `keys` and `headers` as their records had them, None where none has any."""

    lines: Sequence[bytes]
    event_times: Sequence[int | None]
    keys: Sequence[bytes | None] | None = None
    headers: Sequence[Headers] | None = None


Output = Results | DeadLetter | ModelEvent | ModelToServeStats | CandidateStats


def outputs(batch: MicroBatch, scored: ScoredRecords) -> Iterator[Output]:
    """A scored micro-batch's results, in order, then its dead letters.

    A result that no topic would take is a dead letter instead: the sink would fail the job for it.
    """
    lines, rows = scored.lines, scored.rows
    dead = scored.dead
    if lines and _room(batch, lines) < 0:
        rows = list(range(len(batch))) if rows is None else list(rows)
        kept = []
        for at, row in enumerate(rows):
            size = len(lines[at]) + _beside(batch, row)
            if size <= MESSAGE_LIMIT:
                kept.append(at)
                continue
            reason = (
                f"with its result the record has {size} bytes, more than the {MESSAGE_LIMIT} of a message"
            )
            dead = [*dead, dead_letter(batch, BadRecord(row, Code.TOO_LARGE.value, reason))]
        lines, rows = [lines[at] for at in kept], [rows[at] for at in kept]
    if lines:
        yield Results(lines, *(_of(c, rows) for c in (batch.event_times, batch.keys, batch.headers)))
    yield from dead


def _room(batch: MicroBatch, lines: Sequence[bytes]) -> int:
    """What the longest message leaves of the limit, at least."""
    beside = 0
    if batch.keys is not None or batch.headers is not None:
        beside = max(_beside(batch, row) for row in range(len(batch)))
    return MESSAGE_LIMIT - int(Messages.of(lines).lengths().max()) - beside


def _beside(batch: MicroBatch, row: int) -> int:
    """The bytes of a record's key and headers."""
    key = batch.keys[row] if batch.keys else None
    headers = batch.headers[row] if batch.headers else ()
    return len(key or b"") + sum(len(name) * 3 + len(value or b"") + 10 for name, value in headers)


def _of(column: Any, rows: Sequence[int] | None) -> Any:
    return column if column is None or rows is None else [column[r] for r in rows]
