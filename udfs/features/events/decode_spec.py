"""What the operators that decode events and references are made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from schemas.features.declarations import Declarations
from udfs.features.base import Fetch
from udfs.features.enriching import columns_of
from udfs.features.events.decoder import EventDecoder
from udfs.features.events.joint_progress import JointProgress
from udfs.features.events.progress import Progress
from udfs.features.events.references import EventStream, copies_of, enriched_below, source_of, streams_from
from udfs.features.events.view_events import ViewEvents
from udfs.features.expressions import Expressions
from udfs.features.versions import Versions


@dataclass(frozen=True, slots=True)
class DecodeSpec:
    """`sources`: those of `declared` that the job reads; `groups`: how many key groups it has.
    `watermark_step_ms`: how often progress is told. `partitions`: source -> how many partitions one instance
    must have heard of; a source that is not in it waits for its `idle`."""

    declared: Declarations
    sources: tuple[str, ...]
    groups: int
    watermark_step_ms: int
    partitions: Mapping[str, int] = field(default_factory=dict)

    def decoder(
        self, name: str, now: Callable[[], int], expressions: Expressions, parts: int
    ) -> EventDecoder:
        """`parts`: the instances that compute, among which events are spread."""
        read = (v for v in self.declared.views if v.source == name)
        views = [ViewEvents(v, self.declared, expressions, self.groups, parts) for v in read]
        return EventDecoder(source_of(name, self.declared, False), views, now)

    def progress(self, name: str) -> Progress:
        source = source_of(name, self.declared, False)
        return Progress(source, self.partitions.get(name))

    def streams(self, name: str) -> list[EventStream]:
        """Those on which the events of a source go."""
        return streams_from(name, self.declared)

    def has_references(self, name: str) -> bool:
        """Whether somebody must be told how far a source has been read: see `ReferenceSpec`."""
        return bool(enriched_below(name, self.declared))


@dataclass(frozen=True, slots=True)
class ReferenceSpec:
    """The references beside one source, for its views and those that read them. `partitions`: reference ->
    how many there are to be heard of; one that is not in it waits for its `idle`."""

    declared: Declarations
    source: str
    watermark_step_ms: int
    partitions: Mapping[str, int] = field(default_factory=dict)

    def streams(self) -> list[EventStream]:
        """Those to which rows go."""
        return enriched_below(self.source, self.declared)

    def references(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for stream in self.streams() for name in stream.references))

    def decoder(self, name: str, now: Callable[[], int]) -> EventDecoder:
        views = [view for stream in self.streams() for view in stream.views]
        copies = copies_of(name, self.declared, views)
        return EventDecoder(source_of(name, self.declared, True), copies, now)

    def versions(self, view: str, name: str, fetch: Fetch) -> Versions:
        """What a view may still see of a reference."""
        own = next(v for v in self.declared.views if v.id == view)
        reference = next(r for r in self.declared.references if r.name == name)
        return Versions(reference, columns_of(own, reference), fetch)

    def progress(self) -> JointProgress:
        references = [source_of(name, self.declared, True) for name in self.references()]
        return JointProgress(references, dict(self.partitions))
