"""The windows of one view, each with the features over it and the state of all entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from schemas.features.declarations import (
    Declarations,
    FeatureType,
    FeatureView,
    Session,
    Sliding,
    Trailing,
    Tumbling,
    Window,
    duration_ms,
)
from schemas.features.rules import event_types, feature_types
from udfs.features.aggregations import FeatureReading, reading
from udfs.features.layout import Group, Layout
from udfs.features.sessions import Sessions
from udfs.features.tiles import Grid, Tiles


@dataclass(frozen=True)
class WindowState:
    """A window, and the features over it whose partials are alike (numbers, or objects)."""

    window: Window
    layout: Layout
    store: Tiles | Sessions
    readings: tuple[FeatureReading, ...]

    def values(self, rows: NDArray[Any]) -> dict[str, pa.Array]:
        """Feature -> its values over n windows, of which `rows` are the partials."""
        index = {group.key: i for i, group in enumerate(self.layout.groups)}
        return {
            r.name: r.result([self.layout.fields(rows, index[g.key]) for g in r.groups])
            for r in self.readings
        }


def window_states(view: FeatureView, declared: Declarations) -> tuple[WindowState, ...]:
    types, nullable = event_types(view, declared), _nullable(view, declared)
    own = feature_types(view, declared)
    kinds: dict[tuple[Window, bool], list[FeatureReading]] = {}
    for feature in view.aggregates():
        read = reading(feature, types, nullable, own[feature.name])
        kinds.setdefault((feature.window, read.groups[0].objects), []).append(read)
    return tuple(_state(window, found) for (window, _), found in kinds.items())


def _state(window: Window, readings: Sequence[FeatureReading]) -> WindowState:
    groups: dict[Any, Group] = {g.key: g for r in readings for g in r.groups}
    layout = Layout(tuple(groups.values()))
    if isinstance(window, Session):
        return WindowState(window, layout, Sessions(layout, duration_ms(window.gap)), tuple(readings))
    return WindowState(window, layout, Tiles(layout, grid(window)), tuple(readings))


def grid(window: Tumbling | Sliding | Trailing) -> Grid:
    """How a window is made of tiles."""
    match window:
        case Tumbling(size=size):
            return Grid(duration_ms(size), 0)
        case Sliding(size=size, step=step):
            return Grid(duration_ms(step), duration_ms(size) // duration_ms(step) - 1)
        case Trailing(span=span, tile=""):
            return Grid(1, duration_ms(span) - 1)
        case Trailing(span=span, tile=tile):
            return Grid(duration_ms(tile), duration_ms(span) // duration_ms(tile))
    raise AssertionError(window)


def _nullable(view: FeatureView, declared: Declarations) -> frozenset[str]:
    """Columns that may be null: all but those that a source declares otherwise."""
    types: Mapping[str, FeatureType] = event_types(view, declared)
    source = next((s for s in declared.sources if s.name == view.source), None)
    never = {c.name for c in source.columns if not c.nullable} if source else set(view.entity)
    return frozenset(types) - never
