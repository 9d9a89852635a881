"""How much a model may bring along, counted while it comes in."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import FetchError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one model's content: bytes in all, and files of a folder.

    `max_nodes` of a graph of models, `max_depth` of the longest chain of nodes in it.
    """

    max_bytes: int = 2 << 30
    max_files: int = 10_000
    max_nodes: int = 32
    max_depth: int = 8


class Meter:
    """Counts what has arrived from one place; `FetchError` as soon as it is too much."""

    def __init__(self, limits: Limits, place: str) -> None:
        self._limits = limits
        self._place = place
        self._bytes = 0
        self._files = 0

    def bytes(self, count: int) -> None:
        self._bytes += count
        if self._bytes > self._limits.max_bytes:
            raise FetchError(f"{self._place} holds more than the {self._limits.max_bytes} bytes allowed")

    def file(self) -> None:
        self._files += 1
        if self._files > self._limits.max_files:
            raise FetchError(f"{self._place} holds more than the {self._limits.max_files} files allowed")
