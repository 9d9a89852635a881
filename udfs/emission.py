"""What a scoring operator sends on, and how result lines are bundled for the way back to the JVM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
    times = block.event_times if rows is None else [block.event_times[r] for r in rows]
    keys, headers = _of(block.keys, rows), _of(block.headers, rows)
    start, count = 0, len(lines)
    for at in range(1, count + 1):
        if (
            at < count
            and times[at] == times[start]
            and (keys is None or keys[at] == keys[start])
            and (headers is None or headers[at] == headers[start])
        ):
            continue
        yield ResultRun(
            SEPARATOR.join(lines[start:at]), times[start], keys and keys[start], headers and headers[start]
        )
        start = at
    yield from scored.dead


def _of(column, rows):  # type: ignore[no-untyped-def]
    return column if column is None or rows is None else [column[r] for r in rows]
