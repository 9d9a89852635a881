"""The watermark that all instances have surely reached, as who keeps what they may still need must know."""

from __future__ import annotations

NOTHING = -(2**63)


class ReachedByAll:
    """Now and then every instance that reads says how far it is (the greatest watermark for one that has long
    been silent), behind what it has sent. Of a source it says so at marks: what came before one is with the
    views when they write for the same checkpoint."""

    def __init__(self) -> None:
        self._told: dict[int, int] = {}
        self._instances = 0

    def told(self, instance: str, watermark: int) -> None:
        """`instance`: NUMBER/COUNT."""
        number, count = map(int, instance.split("/"))
        self._instances, self._told[number] = count, watermark

    @property
    def watermark(self) -> int:
        """The least of all instances; NOTHING until each has been heard of."""
        if not self._instances or len(self._told) < self._instances:
            return NOTHING
        return min(self._told.values())
