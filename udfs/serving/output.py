"""What a scoring operator sends on, and how results are bundled for the way back to the JVM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, count, pairwise, repeat
from operator import ne
from typing import Any

from schemas.block import SEPARATOR, Block, Headers
from schemas.results.records import CandidateStats, DeadLetter, ModelEvent, ModelToServeStats
from udfs.serving.scoring import Scored

SHARED = b"-"
"""The mark of a line that has the event time and the key of its run."""

# Rows of results cost a multiple of a line. Below this many lines a run on average, lines carry marks.
_LINES_A_RUN = 8


@dataclass(frozen=True, slots=True)
class ResultRun:
    """Neighbouring results on their way to the JVM: a list of byte strings is far cheaper there than rows.

    `marks`, one a line, joined by the separator: SHARED, or the line's own event time (epoch ms, 13 digits)
    followed, where it has a key, by `k` and the key in hex. All have the same headers.
    """

    lines: Sequence[bytes]
    marks: bytes
    event_time: int
    key: bytes | None
    headers: Headers | None


Emission = ResultRun | DeadLetter | ModelEvent | ModelToServeStats | CandidateStats


def emissions(block: Block, scored: Scored) -> Iterator[Emission]:
    """A scored block's results, in order, then its dead letters."""
    lines, rows = scored.lines, scored.rows
    times, keys, headers = (_of(c, rows) for c in (block.event_times, block.keys, block.headers))
    shared = times if keys is None and headers is None else _rows_of(times, keys, headers)
    ends = _ends(shared)
    marked = len(ends) * _LINES_A_RUN > len(lines)
    if marked:
        ends = [len(lines)] if headers is None else _ends(headers)
    for start, end in pairwise([0, *ends]):
        part = slice(start, end)
        marks = _marks(times[part], keys and keys[part]) if marked else repeat(SHARED, end - start)
        yield ResultRun(
            lines[part],
            SEPARATOR.join(marks),
            times[start],
            keys and keys[start],
            headers and headers[start],
        )
    yield from scored.dead


def _ends(shared: Sequence[Any]) -> list[int]:
    """Where runs of equal neighbours end."""
    return [*compress(count(1), map(ne, shared, shared[1:])), len(shared)] if shared else []


def _marks(times: Sequence[int], keys: Sequence[bytes | None] | None) -> Iterable[bytes]:
    if keys is None:
        return (b"%013d" % time for time in times)
    return (
        b"%013d" % time if key is None else b"%013dk%b" % (time, key.hex().encode())
        for time, key in zip(times, keys, strict=True)
    )


def _of(column: Any, rows: Sequence[int] | None) -> Any:
    return column if column is None or rows is None else [column[r] for r in rows]


def _rows_of(times: Sequence[int], keys: Any, headers: Any) -> list[tuple[Any, ...]]:
    return list(zip(times, keys or repeat(None), headers or repeat(None), strict=False))
