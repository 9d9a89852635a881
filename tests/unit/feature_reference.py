"""A second evaluator of feature views for the tests: plain Python, each window anew from all events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from statistics import fmean
from typing import Any

from schemas.features.declarations import (
    Aggregate,
    Count,
    Custom,
    Distinct,
    FeatureView,
    LastN,
    Max,
    Mean,
    Min,
    OnEvent,
    OnThreshold,
    Quantile,
    Session,
    Sliding,
    Sum,
    Trailing,
    Tumbling,
    Variance,
    duration_ms,
)


@dataclass(frozen=True)
class Event:
    time: int
    id: str
    key: str
    x: float | None
    n: int | None
    ok: bool | None


def final_rows(view: FeatureView, events: Iterable[Event]) -> list[dict[str, Any]]:
    """All rows at the end of time, by (time, entity)."""
    by_key: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda e: (e.time, e.id)):
        by_key.setdefault(event.key, []).append(event)
    rows = []
    for key, own in by_key.items():
        rows += [_row(view, key, at, seen) for at, seen in _points(view, own)]
    return sorted(rows, key=lambda r: (r["event_timestamp"], r["key"]))


def _row(view: FeatureView, key: str, at: int, seen: Sequence[Event]) -> dict[str, Any]:
    found: dict[str, Any] = {"key": key, "event_timestamp": at}
    for feature in view.aggregates():
        found[feature.name] = value(feature, at, seen)
    return found


def _points(view: FeatureView, own: list[Event]) -> list[tuple[int, list[Event]]]:
    """When rows are due, and the events up to then."""
    if isinstance(view.emit, OnEvent):
        return [(e.time, own[: i + 1]) for i, e in enumerate(own)]
    if isinstance(view.emit, OnThreshold):
        return _threshold_alerts(view, view.emit, own)
    window = next(view.aggregates()).window
    if isinstance(window, Session):
        gap, sessions = duration_ms(window.gap), list[list[Event]]()
        for event in own:
            if not sessions or event.time - sessions[-1][-1].time >= gap:
                sessions.append([])
            sessions[-1].append(event)
        return [(s[-1].time + gap - 1, s) for s in sessions]
    assert isinstance(window, (Tumbling, Sliding))
    size = duration_ms(window.size)
    step = duration_ms(window.step) if isinstance(window, Sliding) else size
    begins = {b * step for e in own for b in range((e.time - size) // step, e.time // step + 1)}
    found = []
    for begin in sorted(begins):
        inside = [e for e in own if begin <= e.time < begin + size]
        if inside:
            found.append((begin + size - 1, inside))
    return found


def _threshold_alerts(
    view: FeatureView, emit: OnThreshold, own: list[Event]
) -> list[tuple[int, list[Event]]]:
    feature = next(a for a in view.aggregates() if a.name == emit.feature)
    moments = [(e.time, own[: i + 1]) for i, e in enumerate(own)]
    there = {e.time for e in own}
    assert isinstance(feature.window, Trailing)
    span, tile = duration_ms(feature.window.span), duration_ms(feature.window.tile or "1 ms")
    lost = {(e.time // tile + (1 if feature.window.tile else 0)) * tile + span for e in own}
    for at in lost - there:
        moments.append((at, [e for e in own if e.time <= at]))
    above, found = False, []
    for at, seen in sorted(moments, key=lambda m: (m[0], len(m[1]))):
        inside = window_of(feature.window, at, seen)
        now = value(feature, at, seen)
        exceeds = bool(inside) and now is not None and now > emit.limit
        if exceeds != above:
            found.append((at, seen))
        above = exceeds
    return found


def window_of(window: Any, at: int, seen: Sequence[Event]) -> list[Event]:
    if not isinstance(window, Trailing):
        return list(seen)
    span = duration_ms(window.span)
    if not window.tile:
        return [e for e in seen if at - span < e.time <= at]
    tile = duration_ms(window.tile)
    return [e for e in seen if (at - span) // tile * tile <= e.time <= at]


def value(feature: Aggregate, at: int, seen: Sequence[Event]) -> Any:  # noqa: PLR0911
    inside = window_of(feature.window, at, seen)
    if feature.where:
        inside = [e for e in inside if getattr(e, feature.where)]
    of = feature.of
    if isinstance(of, Custom):
        return slope([(e.n, e.x) for e in inside if e.n is not None and e.x is not None])
    column = getattr(of, "column", "")
    if isinstance(of, Count) and not column:
        return len(inside)
    pairs = [(e.time, getattr(e, column)) for e in inside if getattr(e, column) is not None]
    values = [v for _, v in pairs]
    if isinstance(of, Count):
        return len(values)
    if isinstance(of, Distinct):
        return len(set(values))
    if not values:
        return None
    if isinstance(of, LastN):
        return values[-of.n :]
    if isinstance(of, Sum):
        return in_tiles(feature, pairs)
    if isinstance(of, Mean):
        return in_tiles(feature, [(t, float(v)) for t, v in pairs]) / len(values)
    if isinstance(of, (Min, Max)):
        return (min if isinstance(of, Min) else max)(values)
    if isinstance(of, Quantile):
        return sorted(values)[max(1, math.ceil(of.q * len(values))) - 1]
    if isinstance(of, Variance):
        mean = sum(values) / len(values)
        below = len(values) - of.sample
        return sum((v - mean) ** 2 for v in values) / below if below else None
    raise AssertionError(of)


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    if len({x for x, _ in points}) < 2:
        return None
    x, y = (fmean(v) for v in zip(*points, strict=True))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def in_tiles(feature: Aggregate, pairs: Sequence[tuple[int, Any]]) -> Any:
    """A sum in the order that the contract names: events within tiles, then tiles, from the oldest on."""
    window = feature.window
    size: dict[type, Callable[[Any], str]] = {
        Trailing: lambda w: w.tile or "1 ms",
        Tumbling: lambda w: w.size,
        Sliding: lambda w: w.step,
        Session: lambda w: "10000 d",
    }
    tile = duration_ms(size[type(window)](window))
    sums: dict[int, Any] = {}
    for time, v in pairs:
        sums[time // tile] = sums.get(time // tile, 0 * v) + v
    return reduce(lambda a, b: a + b, sums.values())
