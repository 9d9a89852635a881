"""How far a source and the references beside it have been read, as one watermark."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.features.declarations import Source
from udfs.features.events.progress import Progress


class JointProgress:
    """The least of the source's watermark and those of its references.

    The source's comes from the instances that decode it. It is never passed: a source that says nothing for a
    while must not find, when it returns, that a reference has gone on without it. A reference of which
    nothing has come for its `idle` holds nobody back; until it has been heard of or was idle, there is no
    watermark.
    """

    def __init__(
        self, source: Source, references: Sequence[Source], partitions: dict[str, int], now: int
    ) -> None:
        told = Source(name=source.name, columns=(), event_time="", out_of_orderness="0 ms", idle=source.idle)
        self._source = Progress(told, 1, now)
        self._references = {r.name: Progress(r, partitions.get(r.name), now) for r in references}

    def told(self, instance: str, watermark: int, now: int) -> None:
        """An instance has read the source so far."""
        self._source.heard(instance, watermark + 1, now)  # `Progress` takes it for an event's time

    def heard(self, reference: str, partition: int, newest: int | None, now: int) -> None:
        """See `Progress.heard`."""
        self._references[reference].heard(partition, newest, now)

    def watermark(self, references: Sequence[str], now: int) -> int | None:
        """Of the source with some of the references."""
        reached = self._source.watermark(now)
        for name in references:
            progress = self._references[name]
            own = progress.watermark(now)
            if reached is not None and not progress.is_idle(now):
                reached = None if own is None else min(reached, own)
        return reached
