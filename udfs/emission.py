"""What a scoring operator sends on, and how result lines are bundled for the way back to the JVM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, count, pairwise, repeat
from operator import ne
from typing import Any

from schemas.block import SEPARATOR, Block, Headers
from schemas.records import DeadLetter, ModelEvent, ModelToServeStats
from udfs.scoring import Scored


@dataclass(frozen=True, slots=True)
class ResultRun:
    """Neighbouring results that share event time (epoch ms), key and headers, joined by the separator.

    What they share goes out once: splitting lines apart in the JVM is far cheaper than handing rows over.
    """

    lines: bytes
    event_time: int
    key: bytes | None
    headers: Headers | None


Emission = ResultRun | DeadLetter | ModelEvent | ModelToServeStats


def emissions(block: Block, scored: Scored) -> Iterator[Emission]:
    """A scored block's results, in order, then its dead letters."""
    lines, rows = scored.lines, scored.rows
    times, keys, headers = (_of(c, rows) for c in (block.event_times, block.keys, block.headers))
    shared = times if keys is None and headers is None else _rows_of(times, keys, headers)
    ends = [*compress(count(1), map(ne, shared, shared[1:])), len(lines)] if lines else []
    for start, end in pairwise([0, *ends]):
        yield ResultRun(
            SEPARATOR.join(lines[start:end]), times[start], keys and keys[start], headers and headers[start]
        )
    yield from scored.dead


def _of(column: Any, rows: Sequence[int] | None) -> Any:
    return column if column is None or rows is None else [column[r] for r in rows]


def _rows_of(times: Sequence[int], keys: Any, headers: Any) -> list[tuple[Any, ...]]:
    return list(zip(times, keys or repeat(None), headers or repeat(None), strict=False))
