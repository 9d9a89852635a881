"""The engine against an independent evaluator, in any batching and any order within the lateness bound."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from feature_reference import Event, final_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import FeatureError, StoreError
from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Custom,
    Declarations,
    Derived,
    Distinct,
    Emission,
    Feature,
    FeatureType,
    FeatureView,
    LastN,
    Max,
    Mean,
    Min,
    OnEvent,
    OnThreshold,
    OnWindowEnd,
    Quantile,
    Session,
    Sliding,
    Source,
    Sum,
    Trailing,
    Tumbling,
    Value,
    Variance,
    Window,
)
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME
from udfs.features.base import END, Changes, Refused, ViewOutput, no_state
from udfs.features.engine import ViewEngine
from udfs.features.entity_keys import key_group
from udfs.features.rows import rows_as_events
from udfs.features.saved import empty_from

SOURCE = Source(
    name="events",
    event_time="at",
    event_id="id",
    columns=(
        Column(name="id", type=FeatureType.STRING),
        Column(name="key", type=FeatureType.STRING),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="x", type=FeatureType.FLOAT64, nullable=True),
        Column(name="n", type=FeatureType.INT64, nullable=True),
        Column(name="ok", type=FeatureType.BOOL, nullable=True),
    ),
)
SCHEMA = pa.schema([
    ("key", pa.string()), ("x", pa.float64()), ("n", pa.int64()), ("ok", pa.bool_()),
    (EVENT_TIME, pa.int64()), (EVENT_ID, pa.string()),
])  # fmt: skip
TILED = Trailing(span="40 ms", tile="10 ms")
EXACT = Trailing(span="25 ms")
ALL = OnEvent()


def features(window: Window, tag: str = "") -> tuple[Feature, ...]:
    def make(name: str, of: Any, where: str = "") -> Aggregate:
        return Aggregate(name=name + tag, of=of, window=window, where=where)

    return (
        make("all", Count()),
        make("some", Count(column="x"), "ok"),
        make("sum_x", Sum(column="x")),
        make("sum_n", Sum(column="n"), "ok"),
        make("mean", Mean(column="n")),
        make("least", Min(column="x")),
        make("most", Max(column="n"), "ok"),
        make("spread", Variance(column="x")),
        make("spread_sample", Variance(column="x", sample=True)),
    )


def view(of: Sequence[Feature], emit: Emission = ALL, **more: Any) -> FeatureView:
    return FeatureView(
        name="v", version=1, entity=("key",), source="events", features=tuple(of), emit=emit,
        ttl="1 d", owner="o", description="d", **more,
    )  # fmt: skip


def declared(of: FeatureView) -> Declarations:
    return Declarations(sources=(SOURCE,), views=(of,))


GROUPS = 4


def engine(of: FeatureView, fetch: Any = no_state, groups: int = 1) -> ViewEngine:
    return ViewEngine(of, declared(of), fetch, groups=groups)


def batch(events: Sequence[Event]) -> pa.RecordBatch:
    rows = [
        {"key": e.key, "x": e.x, "n": e.n, "ok": e.ok, EVENT_TIME: e.time, EVENT_ID: e.id} for e in events
    ]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def rows_of(outputs: Sequence[ViewOutput]) -> list[dict[str, Any]]:
    rows = [row for o in outputs for b in o.batches if b.final for row in b.rows.to_pylist()]
    for row in rows:
        del row["created"]
    return rows


EVENTS = st.lists(
    st.tuples(
        st.integers(-60, 300),
        st.sampled_from("abc"),
        st.one_of(st.none(), st.floats(-1e6, 1e6, allow_subnormal=False)),
        st.one_of(st.none(), st.integers(-1000, 1000)),
        st.sampled_from([None, True, False]),
    ),
    max_size=40,
).map(lambda found: [Event(t, f"e{i:02}", k, x, n, ok) for i, (t, k, x, n, ok) in enumerate(found)])


def deliver(
    of: ViewEngine, events: Sequence[Event], seed: int, late: int = 30, between: Any = None
) -> list[ViewOutput]:
    """Events in an order that is at most `late` ms wrong, in batches of any size, with watermarks between."""
    choose = random.Random(seed)
    order = sorted(events, key=lambda e: (e.time + choose.uniform(0, late), e.id))
    outputs, highest = [], -1000
    while order:
        size = choose.randint(1, 8)
        part, order = order[:size], order[size:]
        outputs.append(of.add(batch(part)))
        highest = max(highest, *(e.time for e in part))
        if choose.random() < 0.7:
            outputs.append(of.advance(highest - late - 1, 7))
        if between is not None:
            of = between(of)
    outputs.append(of.advance(END, 7))
    return outputs


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    found = sorted(found, key=lambda r: (r["event_timestamp"], r["key"]))
    assert [list(r.items())[:1] for r in found] == [list(r.items())[:1] for r in wanted]
    for row, expected in zip(found, wanted, strict=True):
        for name, value in expected.items():
            if name.startswith("spread") and value is not None:
                assert row[name] == pytest.approx(value, rel=1e-6, abs=1e-3)
            elif isinstance(value, float):  # sums in another order differ in the last bit
                assert row[name] == pytest.approx(value, rel=1e-12, abs=1e-9), (name, row, expected)
            else:
                assert row[name] == value, (name, row, expected)


def objects(window: Window, tag: str = "") -> tuple[Feature, ...]:
    of = {
        "last": LastN(column="x", n=2),
        "distinct": Distinct(column="n"),
        "median": Quantile(column="x", q=0.5),
        "spread_slope": Custom(
            aggregation="udfs.features.regression:Slope", columns=("n", "x"), type=FeatureType.FLOAT64
        ),
    }
    return tuple(Aggregate(name=n + tag, of=f, window=window, where="ok") for n, f in of.items())


VIEWS = {
    "objects": view(objects(TILED)),
    "exact objects": view((*objects(EXACT), *features(TILED, "_tiled"))),
    "sessions of objects": view(objects(Session(gap="15 ms")), OnWindowEnd()),
    "threshold with objects": view((*features(EXACT), *objects(TILED)), OnThreshold(feature="all", limit=1)),
    "threshold median": view(objects(TILED), OnThreshold(feature="median", limit=0)),
    "sliding objects": view(
        (*features(Sliding(size="30 ms", step="10 ms")), *objects(Sliding(size="30 ms", step="10 ms"))),
        OnWindowEnd(),
    ),
    "tiles": view(features(TILED)),
    "exact": view(features(EXACT)),
    "two windows": view((*features(TILED), *features(EXACT, "_exact"))),
    "tumbling": view(features(Tumbling(size="20 ms")), OnWindowEnd()),
    "sliding": view(features(Sliding(size="30 ms", step="10 ms")), OnWindowEnd()),
    "session": view(features(Session(gap="15 ms")), OnWindowEnd()),
    "threshold count": view(features(TILED), OnThreshold(feature="all", limit=2)),
    "threshold exact count": view(features(EXACT), OnThreshold(feature="all", limit=1)),
    "threshold sum": view(features(TILED), OnThreshold(feature="sum_x", limit=100)),
    "threshold least": view(
        (*features(EXACT), *features(TILED, "_tiled")), OnThreshold(feature="least", limit=-10)
    ),
}


@pytest.mark.parametrize("name", VIEWS)
@given(events=EVENTS, seed=st.integers(0, 2**20))
@settings(max_examples=12)
def test_final_rows_are_those_of_the_reference_in_any_order_and_batching(
    name: str, events: list[Event], seed: int
) -> None:
    outputs = deliver(engine(VIEWS[name]), events, seed)
    assert not [r for o in outputs for r in o.refused]
    same(rows_of(outputs), final_rows(VIEWS[name], events))


class Restored:
    """Takes an engine's state away and gives it to another engine, or throws entities out of memory."""

    def __init__(self, of: FeatureView, seed: int) -> None:
        self._view, self._choose = of, random.Random(seed)
        self.states: dict[bytes, bytes] = {}
        self.headers: dict[int, bytes] = {}

    def fetch(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.states.get(key) for key in keys]

    def __call__(self, running: ViewEngine) -> ViewEngine:
        act = self._choose.random()
        if act < 0.4:
            return running
        if act < 0.5:
            self._keep(running.changes(self._choose.randint(0, 2)))
        else:
            self.save(running)
        if act < 0.6 or not self.headers:
            running.evict(self._choose.randint(0, 2))
            return running
        other = engine(self._view, self.fetch, GROUPS)
        assert not any(output.batches for output in other.load([*self.headers.values()], 7))
        return other

    def save(self, running: ViewEngine) -> None:
        changes = running.changes()
        self._keep(changes)
        self.headers |= changes.headers

    def _keep(self, changes: Changes) -> None:
        for group, entities in changes.entities.items():
            for key, packed in entities.items():
                assert key_group(key, GROUPS) == group
                if packed is None:
                    self.states.pop(key, None)
                else:
                    self.states[key] = packed


@pytest.mark.parametrize("name", VIEWS)
@given(events=EVENTS, seed=st.integers(0, 2**20))
@settings(max_examples=12)
def test_state_that_is_saved_evicted_and_restored_changes_no_row(
    name: str, events: list[Event], seed: int
) -> None:
    kept = Restored(VIEWS[name], seed)
    outputs = deliver(engine(VIEWS[name], kept.fetch, GROUPS), events, seed, between=kept)
    same(rows_of(outputs), final_rows(VIEWS[name], events))


@pytest.mark.parametrize("name", VIEWS)
@given(events=EVENTS, seed=st.integers(0, 2**20))
@settings(max_examples=12)
def test_at_the_end_of_time_no_state_is_left(name: str, events: list[Event], seed: int) -> None:
    kept = Restored(VIEWS[name], seed)
    running = engine(VIEWS[name], kept.fetch, GROUPS)
    deliver(running, events, seed)
    kept.save(running)
    assert not kept.states
    assert running.next_time() is None


@pytest.mark.parametrize("name", VIEWS)
@given(events=EVENTS)
@settings(max_examples=12)
def test_next_time_is_when_something_happens(name: str, events: list[Event]) -> None:
    running, rows = engine(VIEWS[name]), []
    if events:
        running.add(batch(events))
    while (at := running.next_time()) is not None:
        rows.append(running.advance(at - 1, 7))
        assert not rows[-1].batches
        rows.append(running.advance(at, 7))
    same(rows_of(rows), final_rows(VIEWS[name], events))


def test_a_call_played_again_gives_the_same_rows() -> None:
    kept = Restored(VIEWS["two windows"], 0)
    running = engine(VIEWS["two windows"], kept.fetch, GROUPS)
    running.add(batch([event(5, "a"), event(40, "b")]))
    running.advance(20, 7)
    kept.save(running)
    sent = [batch([event(30, "a"), event(25, "a", "y")]), batch([event(60, "c")])]
    first = [running.add(b) for b in sent] + [running.advance(50, 7)]
    again = engine(VIEWS["two windows"], kept.fetch, GROUPS)
    again.load([*kept.headers.values()], 7)
    second = [again.add(b) for b in sent] + [again.advance(50, 7)]
    assert [b.rows for o in first for b in o.batches] == [b.rows for o in second for b in o.batches]
    assert len(rows_of(first)) == 3


def event(time: int, key: str, id: str = "", x: float | None = 1.0, n: int | None = 1) -> Event:
    return Event(time, id or f"{key}{time}", key, x, n, True)


def test_state_of_all_entities_of_a_call_is_asked_for_at_once() -> None:
    asked: list[int] = []

    def fetch(keys: Sequence[bytes]) -> Sequence[bytes | None]:
        asked.append(len(keys))
        return no_state(keys)

    running = engine(VIEWS["tiles"], fetch, GROUPS)
    running.add(batch([event(5, "a"), event(6, "b"), event(7, "a"), event(8, "c")]))
    running.add(batch([event(9, "a"), event(10, "c")]))
    running.add(batch([event(11, "d"), event(12, "b")]))
    assert asked == [3, 1]


def test_what_is_at_or_before_the_watermark_is_late() -> None:
    running = engine(VIEWS["tiles"])
    running.add(batch([event(10, "a")]))
    running.advance(20, 7)
    out = running.add(batch([event(21, "a"), event(20, "b"), event(5, "a", "old")]))
    assert list(out.refused) == [Refused("late", 20, "b20"), Refused("late", 5, "old")]
    assert [r["all"] for r in rows_of([running.advance(END, 7)])] == [2]


def test_a_duplicate_is_refused_while_its_like_is_pending_and_late_afterwards() -> None:
    running = engine(VIEWS["tiles"])
    first = running.add(batch([event(10, "a"), event(10, "a"), event(11, "a", "a10")]))
    assert list(first.refused) == [Refused("duplicate", 10, "a10")]
    assert list(running.add(batch([event(10, "a")])).refused) == [Refused("duplicate", 10, "a10")]
    assert [r["all"] for r in rows_of([running.advance(11, 7)])] == [1, 2]
    assert list(running.add(batch([event(10, "a")])).refused) == [Refused("late", 10, "a10")]


@given(events=EVENTS, twice=st.lists(st.integers(0, 1000), max_size=20), seed=st.integers(0, 2**20))
@settings(max_examples=20)
def test_duplicates_change_no_row_and_each_is_refused_once(
    events: list[Event], twice: list[int], seed: int
) -> None:
    again = [events[i % len(events)] for i in twice if events]
    outputs = deliver(engine(VIEWS["tiles"]), [*events, *again], seed)
    assert sum(len(o.refused) for o in outputs) == len(again)
    same(rows_of(outputs), final_rows(VIEWS["tiles"], events))


def test_a_watermark_that_goes_back_is_ignored() -> None:
    running = engine(VIEWS["tiles"])
    running.advance(100, 7)
    assert running.advance(50, 7) == ViewOutput()
    assert [r.code for r in running.add(batch([event(60, "a")])).refused] == ["late"]


@pytest.mark.parametrize("name", ["tiles", "exact", "two windows", "objects"])
@given(events=EVENTS, seed=st.integers(0, 2**20))
@settings(max_examples=20)
def test_a_provisional_row_is_of_the_newest_event_of_all_that_have_come(
    name: str, events: list[Event], seed: int
) -> None:
    choose, running, come = random.Random(seed), engine(VIEWS[name]), list[Event]()
    order = sorted(events, key=lambda e: (e.time + choose.uniform(0, 30), e.id))
    while order:
        part, order = order[: (size := choose.randint(1, 6))], order[size:]
        come += part
        (made,) = running.add(batch(part)).batches
        assert not made.final
        found = {r["key"]: r for r in made.rows.to_pylist()}
        assert found.keys() == {e.key for e in part}
        newest = {r["key"]: r for r in final_rows(VIEWS[name], come)}
        same([{**r} for r in found.values()], sorted(
            (newest[k] for k in found), key=lambda r: (r["event_timestamp"], r["key"])
        ))  # fmt: skip
        if choose.random() < 0.5:
            running.advance(max(e.time for e in come) - 31, 7)


def test_provisional_rows_go_on_in_a_tile_over_watermarks_eviction_and_late_comers() -> None:
    running = engine(VIEWS["tiles"])
    counts = []
    for time, watermark in ((11, 0), (13, 0), (15, 12), (14, 13), (16, 15), (19, 16), (52, 40)):
        (made,) = running.add(batch([event(time, "a"), event(100 + time, "b")])).batches
        running.advance(watermark, 7)
        running.changes()
        running.evict(0)
        counts.append({r["key"]: (r["event_timestamp"], r["all"]) for r in made.rows.to_pylist()}["a"])
    assert counts == [(11, 1), (13, 2), (15, 3), (15, 4), (16, 5), (19, 6), (52, 7)]


def test_without_provisional_rows_and_where_time_decides_there_are_none() -> None:
    quiet = view(features(TILED), online_provisional=False)
    for of in (quiet, VIEWS["threshold count"], VIEWS["tumbling"]):
        assert not engine(of).add(batch([event(1, "a")])).batches


def test_a_sum_of_integers_that_does_not_fit_refuses_its_row_and_no_other() -> None:
    running = engine(VIEWS["tiles"])
    (provisional,) = running.add(batch([event(1, "a", n=2**62), event(1, "b", n=5)])).batches
    assert provisional.rows.num_rows == 2
    (provisional,) = running.add(batch([event(2, "a", n=2**62), event(3, "b", n=-7)])).batches
    assert [row["key"] for row in provisional.rows.to_pylist()] == ["b"]
    running.add(batch([event(100, "a", n=1)]))
    output = running.advance(1000, 7)
    (refused,) = output.refused
    assert (refused.code, refused.event_time) == ("step_failed", 2)
    assert "does not fit into 64 bits" in refused.reason
    assert output.events is not None and refused.event_id in output.events.column(EVENT_ID).to_pylist()
    final = [(r["event_timestamp"], r["key"]) for b in output.batches for r in b.rows.to_pylist()]
    assert final == [(1, "a"), (1, "b"), (3, "b"), (100, "a")], "what leaves the window leaves the sum"


def failing(x: pa.Array) -> pa.Array:
    """Raises for a 0, as `1 / int(0)` does."""
    return pa.array([1.0 / int(value) for value in x.to_pylist()])


def listed(x: pa.Array) -> pa.Array:
    """A list with a null in it where `x` is negative."""
    return pa.array([[None, 1.0] if value < 0 else [value] for value in x.to_pylist()])


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("failing", FeatureType.FLOAT64, "ZeroDivisionError"),
        ("listed", FeatureType.FLOAT64_LIST, "the list 'made' holds a null"),
    ],
)
def test_a_row_on_which_a_function_fails_is_refused_alone(name: str, kind: FeatureType, says: str) -> None:
    made = Derived(name="made", function=f"{__name__}:{name}", inputs=("x",), type=kind, over="arrow")
    running = engine(view((*features(TILED), Value(name="x"), made)))
    xs = [1.0, 2.0, -0.5 if kind is FeatureType.FLOAT64_LIST else 0.0, 4.0, 5.0]
    for at, x in enumerate(xs, 1):
        running.add(batch([event(at, "a", x=x)]))
    output = running.advance(1000, 7)
    (refused,) = output.refused
    assert refused.event_time == 3 and says in refused.reason
    rows = [row for b in output.batches for row in b.rows.to_pylist()]
    assert [row["event_timestamp"] for row in rows] == [1, 2, 4, 5]


def test_an_entity_that_is_null_and_a_missing_column_are_errors() -> None:
    running = engine(VIEWS["tiles"])
    with pytest.raises(FeatureError, match="entity column 'key' is null in 1 of 1"):
        running.add(batch([Event(1, "i", None, 1.0, 1, True)]))  # type: ignore[arg-type]
    with pytest.raises(FeatureError, match="have no column"):
        running.add(batch([event(1, "a")]).drop_columns(["ok"]))


def test_state_of_another_view_or_of_a_changed_one_is_refused() -> None:
    running = engine(VIEWS["tiles"])
    running.add(batch([event(1, "a")]))
    headers = [*running.changes().headers.values()]
    assert headers
    with pytest.raises(StoreError, match="give the changed view a new version"):
        engine(VIEWS["exact"]).load(headers, 7)
    with pytest.raises(StoreError, match="cannot be read"):
        engine(VIEWS["tiles"]).load([b"nonsense"], 7)


def test_nothing_new_is_nothing_to_write() -> None:
    running = engine(VIEWS["tiles"])
    running.add(batch([event(1, "a")]))
    running.advance(5, 7)
    assert running.changes().headers
    changes = running.changes()
    assert not changes.headers
    assert not changes.entities


@pytest.mark.parametrize(("tile", "most"), [("5 min", 8192), ("1 min", 40960)])
def test_a_dense_day_of_a_count_and_a_sum_is_small(tile: str, most: int) -> None:
    day = Trailing(span="24 h", tile=tile)
    of = view((
        Aggregate(name="all", of=Count(), window=day), Aggregate(name="x", of=Sum(column="n"), window=day)
    ))  # fmt: skip
    running = engine(of)
    running.add(batch([event(t * 30_000, "a") for t in range(2 * 60 * 25)]))
    running.advance(30_000 * 2 * 60 * 25, 7)
    (packed,) = (p for of in running.changes().entities.values() for p in of.values() if p is not None)
    tiles = 24 * 60 // int(tile.split(maxsplit=1)[0]) + 1
    assert 16 * tiles < len(packed) < most
    assert empty_from(packed) == 25 * 3_600_000 + 24 * 3_600_000


def test_values_of_the_event_and_derived_features_are_in_their_places() -> None:
    of = view((
        *features(TILED)[:1],
        Value(name="x"),
        Derived(name="twice", function="operator:add", inputs=("x", "x"), type=FeatureType.FLOAT64),
    ))  # fmt: skip
    running = engine(of)
    provisional = running.add(
        batch([event(3, "b", x=2.0), event(2, "a", x=None), event(4, "b", x=5.0)])
    ).batches[0]
    assert {r["key"]: r["twice"] for r in provisional.rows.to_pylist()} == {"a": None, "b": 10.0}
    rows = rows_of([running.advance(END, 7)])
    assert [(r["key"], r["x"], r["twice"]) for r in rows] == [
        ("a", None, None),
        ("b", 2.0, 4.0),
        ("b", 5.0, 10.0),
    ]


def test_rows_of_a_view_are_events_of_another_with_ids_that_repeat() -> None:
    running = engine(VIEWS["tiles"])
    running.add(batch([event(3, "b", "1"), event(3, "b", "2"), event(3, "a", "3")]))
    (made,) = running.advance(END, 7).batches
    events = rows_as_events(made, ("key",))
    assert events.column(EVENT_ID).to_pylist() == ["3/b/0", "3/b/1", "3/a/0"]
    assert events.column(EVENT_TIME).to_pylist() == [3, 3, 3]
