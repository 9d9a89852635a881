"""How far a source and the references beside it have been read, as one watermark."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.features.declarations import Source
from udfs.features.events.progress import Progress


class JointProgress:
    """The least of the source's watermark and those of its references.

    The source's is the least of the instances that decode it, without those that say that they are idle. It
    is never passed: a source that says nothing for a while must not find, when it returns, that a reference
    has gone on without it. A reference of which nothing has come for its `idle` holds nobody back; until it
    has been heard of or was idle, there is no watermark.
    """

    def __init__(self, references: Sequence[Source], partitions: dict[str, int]) -> None:
        self._active: dict[str, int] = {}
        self._reached: int | None = None
        self._references = {r.name: Progress(r, partitions.get(r.name)) for r in references}

    def told(self, instance: str, watermark: int | None) -> None:
        """An instance has read the source so far; None: it is idle until it says something else."""
        if watermark is None:
            self._active.pop(instance, None)
        else:
            self._active[instance] = watermark
        if self._active:
            reached = min(self._active.values())
            self._reached = reached if self._reached is None else max(self._reached, reached)

    def passed(self, ms: int) -> None:
        """So much time has passed where references are read."""
        for progress in self._references.values():
            progress.passed(ms)

    def heard(self, reference: str, partition: int, newest: int | None) -> None:
        """See `Progress.heard`."""
        self._references[reference].heard(partition, newest)

    def watermark(self, references: Sequence[str]) -> int | None:
        """Of the source with some of the references."""
        reached = self._reached
        for name in references:
            progress = self._references[name]
            own = progress.watermark()
            if reached is not None and not progress.is_idle():
                reached = None if own is None else min(reached, own)
        return reached
