"""What the operator that computes views is made from."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.features.declarations import Declarations, FeatureView
from udfs.features.base import Fetch
from udfs.features.engine import ViewEngine
from udfs.features.events.view_events import ViewEvents
from udfs.features.expressions import Expressions


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """`views`: the ids of those that this operator computes; the events of all travel on one stream.

    Watermarks count in steps of `watermark_step_ms`. `groups`: how many key groups there are. After each call
    up to `written` changed entities of a view are written, all others before a checkpoint; at most `resident`
    stay in an instance's memory. `online` and `history` say whether the job has such a store. With
    `final_again` final rows go to the online store also where their provisional ones were equal in every bit.
    """

    declared: Declarations
    views: tuple[str, ...]
    groups: int = 1
    watermark_step_ms: int = 100
    written: int = 64
    resident: int = 200_000
    online: bool = True
    history: bool = True
    final_again: bool = True

    def view(self, name: str) -> FeatureView:
        return next(v for v in self.declared.views if v.id == name)

    def engine(
        self, view: str, fetch: Fetch, expressions: Expressions | None = None, *, complete: bool = True
    ) -> ViewEngine:
        """See `udfs.features.engine.ViewEngine`."""
        of = self.view(view), self.declared, fetch, expressions
        return ViewEngine(*of, groups=self.groups, complete=complete)

    def readers(self, view: str, expressions: Expressions, parts: int) -> list[ViewEvents]:
        """What the views that read `view` take of its rows."""
        read = (v for v in self.declared.views if v.source == view)
        return [ViewEvents(v, self.declared, expressions, self.groups, parts) for v in read]

    def placed(self, view: str) -> bool:
        """Whether ids of its events are SOURCE/PARTITION/OFFSET."""
        source = next((s for s in self.declared.sources if s.name == self.view(view).source), None)
        return source is not None and not source.event_id

    def reached(self, watermark: int) -> int:
        """The watermark that counts: views that read each other agree on it, whichever hears of it first."""
        return (
            watermark
            if watermark == 2**63 - 1
            else (watermark + 1) // self.watermark_step_ms * self.watermark_step_ms - 1
        )

    def due(self, time: int) -> int:
        """The least watermark that counts and has passed `time`."""
        return (
            time if time == 2**63 - 1 else (time // self.watermark_step_ms + 1) * self.watermark_step_ms - 1
        )
