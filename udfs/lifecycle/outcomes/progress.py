"""How far a topic has been read: what is due before that may be given up."""

from __future__ import annotations

from udfs.features.events.progress import Progress
from udfs.features.events.reached_by_all import NOTHING, ReachedByAll

END = 2**63 - 1
"""Of a finite input; and of a reader whose partitions have long been silent, which holds nobody back."""
UNKNOWN = -1
"""Nothing is due before this."""


def reached(progress: Progress) -> int:
    """What a reader tells of its partitions."""
    if progress.is_idle():
        return END
    watermark = progress.watermark()
    return NOTHING if watermark is None else watermark


class ReadTo:
    """The least time up to which a reader has read; now, where all have long been silent.

    So that what waits is not given up while a job reads what came while it was away, for which it gets
    `catch_up_ms` at most, and is where nothing comes any more. Times are epoch milliseconds.
    """

    def __init__(self, catch_up_ms: int) -> None:
        self._catch_up_ms = catch_up_ms
        self._readers = ReachedByAll()

    def told(self, reader: str, reached: int) -> None:
        """`reader`: NUMBER/COUNT."""
        self._readers.told(reader, reached)

    def at(self, now: int) -> int:
        """UNKNOWN until each reader has said how far it is."""
        least = self._readers.watermark
        return UNKNOWN if least == NOTHING else max(min(now, least), now - self._catch_up_ms)
