"""What the operator that decodes events is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from schemas.features import Declarations
from udfs.events.decoder import EventDecoder
from udfs.events.progress import Progress
from udfs.events.view_events import ViewEvents
from udfs.features.expressions import Expressions


@dataclass(frozen=True, slots=True)
class DecodeSpec:
    """`sources`: those of `declared` that the job reads. `partitions`: source -> how many partitions one
    instance must have heard of; a source that is not in it waits for its `idle`."""

    declared: Declarations
    sources: tuple[str, ...]
    shards: int
    settle_ms: int
    partitions: Mapping[str, int] = field(default_factory=dict)

    def decoder(self, name: str, now: Callable[[], int], expressions: Expressions) -> EventDecoder:
        declared = self.declared
        source = next(s for s in declared.sources if s.name == name)
        read = (v for v in declared.views if v.source == name)
        views = [ViewEvents(v, declared, self.shards, expressions) for v in read]
        return EventDecoder(source, views, now)

    def progress(self, name: str, now: int) -> Progress:
        source = next(s for s in self.declared.sources if s.name == name)
        return Progress(source, self.partitions.get(name), now)
