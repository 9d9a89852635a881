"""What must hold between declarations before a job starts on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from schemas.errors import FeatureError
from schemas.features.declarations import (
    NUMBERS,
    Aggregate,
    Column,
    Custom,
    Declarations,
    Derived,
    Enrichment,
    FeatureType,
    FeatureView,
    Function,
    OnThreshold,
    OnWindowEnd,
    Reference,
    Session,
    Sliding,
    Step,
    Trailing,
    Tumbling,
    Value,
    Window,
    day_ms,
    duration_ms,
)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED = frozenset({"event_timestamp", "created"})
_KEYS = frozenset({FeatureType.STRING, FeatureType.INT64, FeatureType.TIMESTAMP})

Types = dict[str, FeatureType]


def check(declared: Declarations) -> None:
    """Raises `FeatureError` for the first thing that is wrong, with the name of what holds it."""
    _unique("source or view", [*(s.name for s in declared.sources), *{v.name for v in declared.views}])
    _unique("version", (v.id for v in declared.views))
    _unique("reference", (r.name for r in declared.references))
    for source in declared.sources:
        types = _columns(f"source {source.name}", source.columns)
        _time(f"source {source.name}", types, source.event_time)
        if source.event_id and source.event_id not in types:
            raise FeatureError(f"source {source.name}: event_id names no column: {source.event_id!r}")
        for span in (source.out_of_orderness, source.idle, source.future):
            duration_ms(span)
        if source.since:
            day_ms(source.since)
    for reference in declared.references:
        _reference(reference)
    for view in order(declared):
        feature_types(view, declared)


def order(declared: Declarations) -> list[FeatureView]:
    """The views, each after the one it reads. Raises `FeatureError` for a cycle or an unknown source."""
    sources = {s.name for s in declared.sources}
    views, done = {v.id: v for v in declared.views}, dict[str, FeatureView]()

    def visit(view: FeatureView, path: tuple[str, ...]) -> None:
        if view.id in path:
            raise FeatureError(f"views read each other in a circle: {' <- '.join([*path, view.id])}")
        if view.source in views:
            visit(views[view.source], (*path, view.id))
        elif view.source not in sources:
            raise FeatureError(
                f"view {view.id}: there is no source and no view {view.source!r} (NAME_vVERSION)"
            )
        done.setdefault(view.id, view)

    for view in declared.views:
        visit(view, ())
    return list(done.values())


def source_types(view: FeatureView, declared: Declarations) -> Types:
    """Columns of the events that the view reads, before its steps."""
    source = next((s for s in declared.sources if s.name == view.source), None)
    if source is not None:
        return {c.name: c.type for c in source.columns}
    above = next(v for v in declared.views if v.id == view.source)
    known = event_types(above, declared)
    types = {name: known[name] for name in above.entity} | feature_types(above, declared)
    types["event_timestamp"] = FeatureType.TIMESTAMP
    return types


def event_types(view: FeatureView, declared: Declarations, steps: Sequence[Step] | None = None) -> Types:
    """Columns of the events that the view aggregates, with those of all its steps, or of `steps`."""
    types = source_types(view, declared)
    for step in view.steps if steps is None else steps:
        if isinstance(step, Enrichment):
            _enrichment(view, step, types, declared)
        else:
            if isinstance(step, Function):
                _known(view, types, step.inputs)
                _function(view, step.function)
            _new(view, types, step.name, step.type)
    return types


def split_steps(view: FeatureView) -> tuple[Sequence[Step], Sequence[Step]]:
    """Those that run when an event comes, and those that wait for references: the first enrichment and
    what follows it."""
    first = next((n for n, s in enumerate(view.steps) if isinstance(s, Enrichment)), len(view.steps))
    return view.steps[:first], view.steps[first:]


def feature_types(view: FeatureView, declared: Declarations) -> Types:
    """Feature -> type, in order. Raises `FeatureError` where the view does not hold together."""
    if not _NAME.fullmatch(view.name) or view.version < 1:
        raise FeatureError(f"view {view.id!r}: a name is lower case, digits and _, a version is 1 or more")
    if not view.owner or not view.description or not view.entity or not view.features:
        raise FeatureError(f"view {view.id}: owner, description, entity and features must not be empty")
    if view.ttl_ms < 1000:
        raise FeatureError(f"view {view.id}: a ttl of {view.ttl} is less than a second")
    events = event_types(view, declared)
    _known(view, events, view.entity)
    before = event_types(view, declared, split_steps(view)[0])
    for key in view.entity:
        if key not in before:
            raise FeatureError(
                f"view {view.id}: the entity column {key!r} comes after an enrichment, which is known only "
                "when an event is final: declare that step before it, or the entity in a view over this one"
            )
        if events[key] not in _KEYS:
            raise FeatureError(
                f"view {view.id}: an entity key is a string, int64 or timestamp; {key!r} is {events[key]}"
            )
    _unique(f"feature of view {view.id}", (*view.entity, *view.names))
    found: Types = {}
    for feature in view.features:
        if not _NAME.fullmatch(feature.name) or feature.name in _RESERVED:
            raise FeatureError(f"view {view.id}: {feature.name!r} cannot be the name of a feature")
        if isinstance(feature, Value):
            _known(view, events, (feature.column or feature.name,))
            found[feature.name] = events[feature.column or feature.name]
        elif isinstance(feature, Derived):
            _known(view, found, feature.inputs)
            _function(view, feature.function)
            found[feature.name] = feature.type
        else:
            found[feature.name] = _aggregate_type(view, feature, events)
            _window(view, feature.window)
    _emission(view, found)
    return found


def _emission(view: FeatureView, found: Types) -> None:
    windows = {type(a.window) for a in view.aggregates()}
    if isinstance(view.emit, OnWindowEnd):
        if len({a.window for a in view.aggregates()}) != 1 or windows & {Trailing}:
            raise FeatureError(
                f"view {view.id}: window_end needs aggregates over one tumbling, sliding or session window"
            )
        if any(isinstance(f, Value) for f in view.features):
            raise FeatureError(
                f"view {view.id}: a closed window has no single event whose value could be served"
            )
    elif windows - {Trailing}:
        raise FeatureError(f"view {view.id}: tumbling, sliding and session windows need emit window_end")
    if isinstance(view.emit, OnThreshold):
        watched = next((a for a in view.aggregates() if a.name == view.emit.feature), None)
        if watched is None or found[watched.name] not in NUMBERS:
            raise FeatureError(
                f"view {view.id}: {view.emit.feature!r} is no aggregate with a number, as a limit needs"
            )


def _aggregate_type(view: FeatureView, feature: Aggregate, events: Types) -> FeatureType:
    of = feature.of
    if feature.where:
        _known(view, events, (feature.where,))
        if events[feature.where] is not FeatureType.BOOL:
            raise FeatureError(f"view {view.id}: where of {feature.name!r} must be a bool column")
    if isinstance(of, Custom):
        _function(view, of.aggregation)
    _known(view, events, of.reads)
    try:
        return of.gives([events[column] for column in of.reads])
    except FeatureError as e:
        raise FeatureError(f"view {view.id}: {feature.name!r} {e}") from None


def _window(view: FeatureView, window: Window) -> None:
    match window:
        case Tumbling(size=size) | Session(gap=size):
            length, part = duration_ms(size), duration_ms(size)
        case Sliding(size=size, step=step):
            length, part = duration_ms(size), duration_ms(step)
        case Trailing(span=span, tile=tile):
            length, part = duration_ms(span), duration_ms(tile) if tile else 1
    if part < 1 or length < part or length % part:
        raise FeatureError(f"view {view.id}: {window} does not divide into whole parts of its step or tile")


def _columns(where: str, columns: Iterable[Column]) -> Types:
    columns = tuple(columns)
    _unique(f"column of {where}", (c.name for c in columns))
    for column in columns:
        if column.unit != "ms" and column.type is not FeatureType.TIMESTAMP:
            raise FeatureError(f"{where}: {column.name!r} has a unit and is no timestamp")
    return {c.name: c.type for c in columns}


def _reference(reference: Reference) -> None:
    where = f"reference {reference.name}"
    types = _columns(where, reference.columns)
    _time(where, types, reference.event_time)
    if types.get(reference.key) not in _KEYS:
        raise FeatureError(
            f"{where}: key must be a string, int64 or timestamp column, which {reference.key!r} is not"
        )
    if reference.deleted and types.get(reference.deleted) is not FeatureType.BOOL:
        raise FeatureError(f"{where}: deleted must be a bool column, which {reference.deleted!r} is not")
    for span in (reference.out_of_orderness, reference.idle, reference.future):
        duration_ms(span)


def _enrichment(view: FeatureView, step: Enrichment, types: Types, declared: Declarations) -> None:
    reference = next((r for r in declared.references if r.name == step.reference), None)
    if reference is None:
        raise FeatureError(f"view {view.id}: there is no reference {step.reference!r}")
    if not step.columns:
        raise FeatureError(f"view {view.id}: an enrichment by {step.reference} takes no columns")
    _known(view, types, (step.on,))
    columns = {c.name: c.type for c in reference.columns}
    if types[step.on] is not columns.get(reference.key):
        raise FeatureError(
            f"view {view.id}: {step.on!r} is {types[step.on]}, but the key of reference {step.reference} is "
            f"{columns.get(reference.key)}"
        )
    for new, column in step.columns.items():
        if column not in columns:
            raise FeatureError(f"view {view.id}: reference {step.reference} has no column {column!r}")
        _new(view, types, new, columns[column])


def _time(where: str, types: Mapping[str, FeatureType], column: str) -> None:
    if types.get(column) is not FeatureType.TIMESTAMP:
        raise FeatureError(f"{where}: event_time {column!r} must be a column of type timestamp")


def _known(view: FeatureView, types: Mapping[str, FeatureType], wanted: Iterable[str]) -> None:
    for name in wanted:
        if name not in types:
            raise FeatureError(f"view {view.id}: there is no {name!r}; there are {', '.join(types)}")


def _new(view: FeatureView, types: Types, name: str, kind: FeatureType) -> None:
    if name in types:
        raise FeatureError(f"view {view.id}: a step would replace the column {name!r}")
    types[name] = kind


def _function(view: FeatureView, name: str) -> None:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute.isidentifier()):
        raise FeatureError(f"view {view.id}: a function is named MODULE:NAME, not {name!r}")


def _unique(what: str, names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise FeatureError(f"there are two of {what} {name!r}")
        seen.add(name)
