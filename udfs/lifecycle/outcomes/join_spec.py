"""What the operators of the outcomes job are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from udfs.features.events.progress import Progress, StreamTiming
from udfs.lifecycle.outcomes.counting import Counter
from udfs.lifecycle.outcomes.joining import Terms
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.outcomes.progress import ReadTo
from udfs.lifecycle.outcomes.reading import Reader
from udfs.lifecycle.outcomes.telling import KeptQuality


@dataclass(frozen=True, slots=True)
class JoinSpec:
    """`judged`: by data type. `idle_ms`: of a topic that is silent; `catch_up_ms`: what reading what has come
    in the meantime may take. `to_the_end`: of a finite input, before which nothing is given up.
    `store`: whether rows are kept.

    `window_ms` is that of quality, `told_ms` how often it is told; `most_keys` bounds what is told apart.
    """

    judged: Mapping[str, Judging]
    terms: Terms
    idle_ms: int = 30_000
    catch_up_ms: int = 3_600_000
    to_the_end: bool = False
    store: bool = True
    window_ms: int = 300_000
    told_ms: int = 5_000
    most_keys: int = 10_000
    timer_ms: int = 500
    most_a_timer: int = 20_000

    def progress(self) -> Progress:
        """Of who reads a topic, over its partitions. Which are its own it does not know."""
        return Progress(StreamTiming("0 ms", f"{self.idle_ms} ms"), None)

    def read_to(self) -> ReadTo:
        return ReadTo(self.catch_up_ms)

    def reader(self, groups: int, parts: int) -> Reader:
        """`groups`: the key groups of the job; `parts`: the instances that join."""
        return Reader(self.judged, groups, parts)

    def quality(self, data_type: str, groups: int) -> KeptQuality:
        counter = Counter(data_type, self.judged[data_type], self.window_ms, self.most_keys)
        return KeptQuality(counter, groups, self.window_ms, self.terms.grace)
