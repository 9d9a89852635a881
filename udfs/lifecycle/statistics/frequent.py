"""The most frequent texts, in bounded memory, with a stated error."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

CAPACITY = 512
LONGEST_TEXT = 256
"""Characters of a text that are kept; longer ones count under their beginning."""


class Frequent(msgspec.Struct, array_like=True):
    """Counts of at most `CAPACITY` texts. Each true count lies between the one kept and it plus `error`.

    Misra and Gries, "Finding repeated elements" (1982), merged as in Agarwal, Cormode, Huang, Phillips, Wei
    and Yi, "Mergeable summaries" (PODS 2012). While no more than `CAPACITY` texts occur, `error` is 0.
    """

    counts: dict[str, int] = msgspec.field(default_factory=dict)
    error: int = 0

    def add(self, counts: Mapping[str, int], error: int = 0) -> None:
        """Take in counts, or the counts and error of another summary."""
        for text, count in counts.items():
            kept = text[:LONGEST_TEXT]
            self.counts[kept] = self.counts.get(kept, 0) + count
        self.error += error
        if len(self.counts) > CAPACITY:
            off = sorted(self.counts.values(), reverse=True)[CAPACITY]
            self.counts = {text: count - off for text, count in self.counts.items() if count > off}
            self.error += off

    def top(self, most: int) -> list[tuple[str, int]]:
        """The `most` texts with the highest counts; equals by text."""
        return sorted(self.counts.items(), key=lambda kept: (-kept[1], kept[0]))[:most]
