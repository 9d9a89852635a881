"""References: an event sees the newest row of its key at its time, whatever order anything came in."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from millrace.cli import app
from operators.features import decode_events, decode_references
from schemas.errors import FeatureError, StoreError
from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Declarations,
    Enrichment,
    Expression,
    FeatureType,
    FeatureView,
    Function,
    LastN,
    Max,
    OnThreshold,
    Reference,
    Source,
    Sum,
    Trailing,
    Value,
)
from schemas.features.feature_batch import (
    EVENT_ID,
    EVENT_TIME,
    from_bytes,
    marked_reference,
    reference_of,
    to_bytes,
)
from schemas.features.rules import check, event_types
from schemas.results.records import DeadLetter, encode
from tests import feature_enriched
from tests.feature_harness import GROUPS, FeatureHarness
from udfs.features.base import END, Fetch, ViewOutput, no_state
from udfs.features.engine import ViewEngine
from udfs.features.events.joint_progress import JointProgress
from udfs.features.events.reading import read_references
from udfs.features.events.references import as_source, enriched_below, streams_from
from udfs.features.expressions import Expressions
from udfs.features.versions import Versions
from udfs.io.s3 import S3Options

START = 1_700_000_000_000
SIGNALS = Source(
    name="signals",
    topic="signals",
    columns=(
        Column(name="id", type=FeatureType.STRING),
        Column(name="account", type=FeatureType.STRING),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="zip", type=FeatureType.INT64, nullable=True),
        Column(name="amount", type=FeatureType.FLOAT64, nullable=True),
    ),
    event_time="at",
    event_id="id",
    out_of_orderness="1 s",
)
ZIPS = Reference(
    name="zips",
    topic="zips",
    key="zip",
    event_time="since",
    deleted="gone",
    out_of_orderness="1 s",
    columns=(
        Column(name="zip", type=FeatureType.INT64),
        Column(name="since", type=FeatureType.TIMESTAMP),
        Column(name="town", type=FeatureType.STRING, nullable=True),
        Column(name="factor", type=FeatureType.FLOAT64, nullable=True),
        Column(name="gone", type=FeatureType.BOOL, nullable=True),
    ),
)
ENRICH = Enrichment(reference="zips", on="area", columns={"town": "town", "weight": "factor"})
STEPS = (
    Expression(name="area", sql="zip + 0", type=FeatureType.INT64),
    ENRICH,
    Expression(name="worth", sql="amount * coalesce(weight, 1)", type=FeatureType.FLOAT64),
)
HOUR = Trailing(span="1 h", tile="1 min")
SPEND = FeatureView(
    name="spend",
    version=1,
    entity=("account",),
    source="signals",
    steps=STEPS,
    features=(
        Value(name="town"),
        Value(name="worth"),
        Aggregate(name="n", of=Count(), window=HOUR),
        Aggregate(name="total", of=Sum(column="worth"), window=HOUR),
        Aggregate(name="towns", of=LastN(column="town", n=3), window=Trailing(span="20 ms")),
    ),
    ttl="1 d",
    owner="tests",
    description="Money, weighted by the town.",
)
BUSY = FeatureView(
    name="busy",
    version=1,
    entity=("account",),
    source="signals",
    steps=STEPS,
    features=(Aggregate(name="total", of=Sum(column="worth"), window=HOUR),),
    emit=OnThreshold(feature="total", limit=20),
    ttl="1 d",
    owner="tests",
    description="Much money.",
)
PLAIN = msgspec.structs.replace(BUSY, name="plain", steps=(), features=(Value(name="amount"),))
PLAIN = msgspec.structs.replace(PLAIN, emit=SPEND.emit)
BY_TOWN = FeatureView(
    name="by_town",
    version=1,
    entity=("town",),
    source="spend_v1",
    steps=(
        Expression(name="code", sql="CAST(length(town) AS BIGINT)", type=FeatureType.INT64),
        Enrichment(reference="zips", on="code", columns={"factor": "factor"}),
    ),
    features=(
        Aggregate(name="most", of=Max(column="total"), window=HOUR),
        Aggregate(name="n", of=Count(), window=HOUR),
        Value(name="factor"),
    ),
    ttl="1 d",
    owner="tests",
    description="A view whose entity comes of an enrichment in the view that it reads.",
)
DECLARED = Declarations(sources=(SIGNALS,), references=(ZIPS,), views=(SPEND, BUSY, PLAIN, BY_TOWN))


@dataclass(frozen=True)
class Change:
    zip: int
    since: int
    town: str | None
    factor: float | None
    gone: bool | None


@dataclass(frozen=True)
class Signal:
    id: str
    account: str
    at: int
    zip: int | None
    amount: float | None


CHANGES = st.lists(
    st.builds(
        Change,
        zip=st.integers(0, 3),
        since=st.integers(0, 60),
        town=st.sampled_from([None, "", "a", "bb", "ccc"]),
        factor=st.sampled_from([None, 0.5, 2.0]),
        gone=st.sampled_from([None, False, False, True]),
    ),
    max_size=25,
)
SIGNALS_SENT = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 60),
        st.one_of(st.none(), st.integers(0, 4)),
        st.sampled_from([None, 1.0, 3.0, 8.0]),
    ),
    max_size=25,
).map(lambda rows: [Signal(f"e{i}", *row) for i, row in enumerate(rows)])


def as_of(changes: list[Change], zip: int | None, at: int) -> Change | None:
    """The definition, by looking at all: of equal times any row counts before a deletion, then content."""
    seen = [c for c in changes if c.zip == zip and c.since <= at]
    if not seen:
        return None
    last = max(
        seen,
        key=lambda c: (c.since, not c.gone, b"" if c.gone else msgspec.msgpack.encode((c.factor, c.town))),
    )
    return None if last.gone else last


def wanted(signals: list[Signal], changes: list[Change]) -> list[dict[str, Any]]:
    """Rows of SPEND, each from all events."""
    rows = []
    ordered = sorted(signals, key=lambda s: (s.at, s.id))
    for index, signal in enumerate(ordered):
        found = []
        for other in ordered[: index + 1]:
            if other.account == signal.account:
                row = as_of(changes, other.zip, other.at)
                factor = 1.0 if row is None or row.factor is None else row.factor
                worth = None if other.amount is None else other.amount * factor
                found.append((other.at, worth, None if row is None else row.town))
        values = [worth for _, worth, _ in found if worth is not None]
        towns = [town for at, _, town in found if town is not None and signal.at - 20 < at]
        rows.append(
            {
                "account": signal.account,
                "town": found[-1][2],
                "worth": found[-1][1],
                "n": len(found),
                "total": sum(values) if values else None,
                "towns": towns[-3:] or None,
                "event_timestamp": signal.at,
            }
        )
    return rows


DUCK = Expressions()


@pytest.fixture(scope="module", autouse=True)
def duck() -> Iterator[None]:
    yield
    DUCK.close()


def engine(
    view: FeatureView = SPEND,
    fetch: Any = no_state,
    declared: Declarations = DECLARED,
    complete: bool = True,
) -> ViewEngine:
    return ViewEngine(view, declared, fetch, DUCK, groups=4, complete=complete)


def events(signals: list[Signal]) -> pa.RecordBatch:
    """As decode sends them: the step before the enrichment has run."""
    columns = {
        "account": pa.array([s.account for s in signals], pa.string()),
        "zip": pa.array([s.zip for s in signals], pa.int64()),
        "area": pa.array([s.zip for s in signals], pa.int64()),
        "amount": pa.array([s.amount for s in signals], pa.float64()),
        EVENT_TIME: pa.array([s.at for s in signals], pa.int64()),
        EVENT_ID: pa.array([s.id for s in signals], pa.string()),
    }
    return pa.record_batch(columns)


def rows(changes: list[Change]) -> pa.RecordBatch:
    columns = {
        "zip": pa.array([c.zip for c in changes], pa.int64()),
        "factor": pa.array([c.factor for c in changes], pa.float64()),
        "town": pa.array([c.town for c in changes], pa.string()),
        "gone": pa.array([c.gone for c in changes], pa.bool_()),
        EVENT_TIME: pa.array([c.since for c in changes], pa.int64()),
        EVENT_ID: pa.array([f"zips/0/{i}" for i in range(len(changes))], pa.string()),
    }
    return marked_reference(pa.record_batch(columns), "zips")


def final_rows(outputs: list[ViewOutput]) -> list[dict[str, Any]]:
    found = [row for o in outputs for b in o.batches if b.final for row in b.rows.to_pylist()]
    for row in found:
        del row["created"]
    return found


def stored(states: Mapping[bytes, bytes]) -> Fetch:
    return lambda keys: [states.get(key) for key in keys]


class Kept:
    """State, as the operators keep it; now and then the engine is made anew from it."""

    def __init__(self) -> None:
        self.states: dict[bytes, bytes] = {}
        self.headers: dict[int, bytes] = {}
        self.references: dict[bytes, bytes] = {}
        self._versions = self._made()

    def _made(self) -> Versions:
        return Versions(ZIPS, ("factor", "town"), stored(self.references))

    def take(self, changes: list[Change]) -> pa.RecordBatch:
        """Rows for an engine."""
        made = rows(changes)
        self._versions.take(made)
        return made

    def save(self, running: ViewEngine, watermark: int) -> None:
        changes = running.changes()
        self.headers |= changes.headers
        for entities in changes.entities.values():
            self._keep(self.states, entities)
        self._keep(self.references, self._versions.changes(watermark))
        self._versions.evict(1)

    def _keep(self, into: dict[bytes, bytes], entries: Mapping[bytes, bytes | None]) -> None:
        for key, packed in entries.items():
            if packed is None:
                into.pop(key, None)
            else:
                into[key] = packed

    def again(self, running: ViewEngine, view: FeatureView, watermark: int, held: list[Signal]) -> ViewEngine:
        """`held`: signals that come between the restart and the references."""
        self.save(running, watermark)
        other = engine(view, stored(self.states), complete=False)
        assert not any(output.batches for output in other.load([*self.headers.values()], 7))
        assert not held or not other.add(events(held)).batches, (
            "nothing provisional leaves that lacks references"
        )
        self._versions = self._made()
        assert not other.add(self._versions.restored(self.references.items())).refused
        other.complete()
        return other


def deliver(signals: list[Signal], changes: list[Change], seed: int, kept: Kept) -> list[ViewOutput]:
    """In any batches, in an order that is up to 15 ms wrong on both sides, behind the least watermark."""
    choose = random.Random(seed)
    sent = [(s.at + choose.uniform(0, 15), 0, s) for s in signals]
    told = [(c.since + choose.uniform(0, 15), 1, c) for c in changes]
    order: list[tuple[float, int, Any]] = sorted([*sent, *told], key=lambda one: one[:2])
    running, outputs, watermark = engine(SPEND, stored(kept.states)), list[ViewOutput](), -1
    while order:
        part, order = order[: (size := choose.randint(1, 6))], order[size:]
        own_signals, own_changes = ([one for _, of, one in part if of == kind] for kind in (0, 1))
        if choose.random() < 0.3:
            running, own_signals = kept.again(running, SPEND, watermark, own_signals), []
        if own_signals:
            outputs.append(running.add(events(own_signals)))
        if own_changes:
            outputs.append(running.add(kept.take(own_changes)))
        if choose.random() < 0.5:
            watermark = max(watermark, int(order[0][0]) - 16 if order else 70)
            outputs.append(running.advance(watermark, 7))
        if choose.random() < 0.3:
            kept.save(running, watermark)
            running.evict(choose.randint(0, 2))
    outputs.append(running.advance(END, 7))
    kept.save(running, END)
    return outputs


@given(SIGNALS_SENT, CHANGES, st.integers(0, 2**20))
@settings(max_examples=150)
def test_final_rows_are_a_function_of_events_and_changes(
    signals: list[Signal], changes: list[Change], seed: int
) -> None:
    kept = Kept()
    outputs = deliver(signals, changes, seed, kept)
    assert [one for o in outputs for one in o.refused] == []
    assert final_rows(outputs) == wanted(signals, changes)


@given(CHANGES, st.integers(0, 2**20))
@settings(max_examples=60)
def test_state_holds_what_later_events_may_see_and_no_more(changes: list[Change], seed: int) -> None:
    kept = Kept()
    deliver([], changes, seed, kept)
    living = {c.zip for c in changes if as_of(changes, c.zip, 100) is not None}
    assert len(kept.references) == len(living) and not kept.states
    for packed in kept.references.values():
        assert len(msgspec.msgpack.decode(packed)[1]) == 1


@given(
    CHANGES,
    st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 4)), st.integers(-5, 70)), max_size=40),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150)
def test_versions_look_up_as_the_definition_does(
    changes: list[Change], asked: list[tuple[int | None, int]], shuffler: Any
) -> None:
    versions = Versions(ZIPS, ("factor", "town"))
    shuffled = [*changes]
    shuffler.shuffle(shuffled)
    for change in shuffled:
        versions.take(rows([change]))
    found = versions.as_of(
        pa.array([zip for zip, _ in asked], pa.int64()), np.array([at for _, at in asked], np.int64)
    )
    expected = [as_of(changes, zip, at) for zip, at in asked]
    assert found["town"].to_pylist() == [None if row is None else row.town for row in expected]
    assert found["factor"].to_pylist() == [None if row is None else row.factor for row in expected]


def change(zip: int, since: int, town: str | None = None, factor: float | None = None) -> Change:
    return Change(zip, since, town, factor, None)


def test_a_provisional_row_uses_what_is_known_and_is_put_right_when_it_is_final() -> None:
    running = engine()
    (provisional,) = running.add(events([Signal("1", "a", 10, 7, 2.0)])).batches
    assert provisional.rows.to_pylist()[0] | {"created": 0} == {
        "account": "a", "town": None, "worth": 2.0, "n": 1, "total": 2.0, "towns": None,
        "event_timestamp": 10, "created": 0,
    }  # fmt: skip
    assert not running.add(rows([change(7, 9, "x", 3.0), change(7, 11, "later", 9.0)])).batches
    (provisional,) = running.add(events([Signal("2", "a", 12, 7, 1.0)])).batches
    assert [(r["town"], r["worth"], r["n"]) for r in provisional.rows.to_pylist()] == [("later", 9.0, 2)]
    first = final_rows([running.advance(10, 7)])
    assert [(r["town"], r["worth"], r["total"]) for r in first] == [("x", 6.0, 6.0)]
    (provisional,) = running.add(events([Signal("3", "a", 13, None, 1.0)])).batches
    assert [r["total"] for r in provisional.rows.to_pylist()] == [16.0], "final as it is, pending as known"


def test_an_event_without_a_key_or_with_a_deleted_one_sees_nothing() -> None:
    running = engine()
    running.add(rows([change(1, 5, "x", 2.0), Change(1, 8, "x", 2.0, True), change(1, 10, "y")]))
    running.add(events([Signal(str(at), "a", at, 1, 1.0) for at in (4, 5, 7, 8, 9, 10)]))
    running.add(events([Signal("none", "a", 11, None, 1.0)]))
    found = [row["town"] for row in final_rows([running.advance(END, 7)])]
    assert found == [None, "x", "x", None, None, "y", None]


def test_a_row_that_comes_late_is_told_and_counts_for_what_is_not_final() -> None:
    running = engine()
    running.add(rows([change(1, 1, "old")]))
    running.add(events([Signal("1", "a", 10, 1, 1.0), Signal("2", "a", 30, 1, 1.0)]))
    assert [r["town"] for r in final_rows([running.advance(20, 7)])] == ["old"]
    out = running.add(rows([change(1, 9, "new"), change(2, 11, "two"), change(3, 5, "three")]))
    assert [(one.code, one.event_time) for one in out.refused] == [
        ("late_reference", 9),
        ("late_reference", 5),
    ], "no event at or after 11 is final, whatever the watermark"
    assert [r["town"] for r in final_rows([running.advance(END, 7)])] == ["new"]


def test_the_newest_final_time_survives_a_restart() -> None:
    kept = Kept()
    running = engine(SPEND, stored(kept.states))
    running.add(events([Signal("1", "a", 10, 1, 1.0)]))
    running.advance(20, 7)
    running = kept.again(running, SPEND, 20, [])
    assert [one.event_time for one in running.add(rows([change(1, 9), change(1, 11)])).refused] == [9]


def test_state_of_all_keys_of_a_call_is_asked_for_at_once() -> None:
    asked: list[int] = []

    def fetch(keys: Sequence[bytes]) -> Sequence[bytes | None]:
        asked.append(len(keys))
        return no_state(keys)

    versions = Versions(ZIPS, ("factor", "town"), fetch)
    versions.take(rows([change(1, 5), change(2, 5), change(1, 6)]))
    versions.take(rows([change(2, 7), change(3, 7)]))
    assert asked == [2, 1]


def test_a_row_repeated_changes_nothing() -> None:
    versions = Versions(ZIPS, ("factor", "town"))
    versions.take(rows([change(1, 5, "x", 2.0)]))
    assert len(versions.changes()) == 1
    versions.take(rows([change(1, 5, "x", 2.0), change(1, 5, "x", 2.0)]))
    assert not versions.changes()


def test_provisional_rows_wait_until_what_was_known_has_come_again() -> None:
    running = engine(complete=False)
    assert not running.add(events([Signal("1", "a", 10, 1, 2.0), Signal("2", "b", 10, 2, 2.0)])).batches
    assert not running.add(rows([change(1, 5, "x", 3.0)])).batches
    (provisional,) = running.complete().batches
    assert {r["account"]: r["worth"] for r in provisional.rows.to_pylist()} == {"a": 6.0, "b": 2.0}
    assert not running.complete().batches
    (provisional,) = running.add(events([Signal("3", "a", 11, 1, 1.0)])).batches
    assert [r["total"] for r in provisional.rows.to_pylist()] == [9.0]


def test_a_step_after_the_join_that_fails_refuses_its_event_when_that_is_final() -> None:
    root = Function(
        name="root", function="tests.feature_steps:root", inputs=("worth",), type=FeatureType.FLOAT64
    )
    view = msgspec.structs.replace(
        SPEND, steps=(*STEPS, root), features=(*SPEND.features, Value(name="root"))
    )
    running = engine(view, declared=Declarations(sources=(SIGNALS,), references=(ZIPS,), views=(view,)))
    running.add(rows([change(1, 1, "x", 4.0), change(1, 15, "x", -4.0)]))
    out = running.add(events([Signal(str(at), "a", at, 1, 1.0) for at in (10, 16, 12)]))
    assert [r["root"] for r in out.batches[0].rows.to_pylist()] == [None], "the newest one's step fails"
    running.add(rows([change(1, 14, "y", 9.0), change(1, 16, "y", 9.0)]))
    running.add(events([Signal("20", "a", 20, 1, -1.0)]))
    out = running.advance(END, 7)
    assert [(r["event_timestamp"], r["root"], r["n"]) for r in final_rows([out])] == [
        (10, 2.0, 1),
        (12, 2.0, 2),
        (16, 3.0, 3),
    ]
    [refused] = out.refused
    assert (refused.code, refused.event_id) == ("step_failed", "20") and "has no root" in refused.reason
    assert out.events is not None and out.events.num_rows == 4


def test_a_reference_that_changed_its_meaning_is_not_read_with_old_state() -> None:
    running = engine()
    running.add(events([Signal("1", "a", 10, 1, 2.0)]))
    headers = [*running.changes().headers.values()]
    assert headers
    other = Declarations(
        sources=(SIGNALS,), references=(msgspec.structs.replace(ZIPS, deleted=""),), views=(SPEND,)
    )
    with pytest.raises(StoreError, match="give the changed view a new version"):
        engine(SPEND, declared=other).load(headers, 7)
    with pytest.raises(FeatureError, match="rows of reference zips came, but it has none"):
        engine(PLAIN).add(rows([change(1, 1)]))


def test_a_mark_survives_the_way() -> None:
    assert reference_of(from_bytes(to_bytes(rows([change(1, 1)])))) == "zips"
    assert reference_of(rows([change(1, 1)]).slice(0, 1).take(pa.array([0]))) == "zips"
    assert reference_of(events([])) == ""


# declarations


def with_steps(*steps: Any, reference: Reference = ZIPS, **changes: Any) -> Declarations:
    view = msgspec.structs.replace(SPEND, steps=steps, **changes)
    return Declarations(sources=(SIGNALS,), references=(reference,), views=(view,))


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        (with_steps(*STEPS, entity=("town",)), "entity column 'town' comes after an enrichment.*a view over"),
        (
            with_steps(
                *STEPS, Expression(name="who", sql="account", type=FeatureType.STRING), entity=("who",)
            ),
            "entity column 'who' comes after an enrichment",
        ),
        (with_steps(Enrichment(reference="towns", on="zip", columns={})), "there is no reference 'towns'"),
        (with_steps(Enrichment(reference="zips", on="zip", columns={})), "takes no columns"),
        (
            with_steps(Enrichment(reference="zips", on="account", columns={"town": "town"})),
            "'account' is string, but the key of reference zips is int64",
        ),
        (with_steps(Enrichment(reference="zips", on="zip", columns={"x": "no"})), "has no column 'no'"),
        (
            with_steps(Enrichment(reference="zips", on="zip", columns={"amount": "factor"})),
            "would replace the column 'amount'",
        ),
        (with_steps(*STEPS, reference=msgspec.structs.replace(ZIPS, key="factor")), "key must be a string"),
        (with_steps(*STEPS, reference=msgspec.structs.replace(ZIPS, key="x")), "key must be a string"),
        (
            with_steps(*STEPS, reference=msgspec.structs.replace(ZIPS, deleted="town")),
            "deleted must be a bool",
        ),
        (with_steps(*STEPS, reference=msgspec.structs.replace(ZIPS, idle="soon")), "no duration"),
        (with_steps(*STEPS, reference=msgspec.structs.replace(ZIPS, event_time="zip")), "event_time 'zip'"),
    ],
)
def test_what_cannot_be_joined_is_refused_at_the_start(declared: Declarations, says: str) -> None:
    with pytest.raises(FeatureError, match=says) as caught:
        check(declared)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("topic", "says"), [("", "reference zips has no topic"), ("signals", "zips and source signals read one")]
)
def test_a_reference_needs_a_topic_of_its_own(topic: str, says: str) -> None:
    declared = with_steps(*STEPS, reference=msgspec.structs.replace(ZIPS, topic=topic))
    with pytest.raises(FeatureError, match=says):
        read_references(declared, topics=True)
    assert read_references(declared, topics=False) == {"zips": topic}


def test_views_with_references_have_a_stream_of_their_own() -> None:
    check(DECLARED)
    assert [(s.name, s.views, s.references) for s in streams_from("signals", DECLARED)] == [
        ("signals-enriched", ("spend_v1", "busy_v1"), ("zips",)),
        ("signals", ("plain_v1",), ()),
    ]
    assert [s.name for s in enriched_below("signals", DECLARED)] == ["signals-enriched", "spend_v1-enriched"]
    assert event_types(BY_TOWN, DECLARED)["factor"] is FeatureType.FLOAT64


# how far both have been read


def joint(idle: str = "10 s") -> JointProgress:
    reference = as_source(msgspec.structs.replace(ZIPS, idle=idle))
    return JointProgress([reference], {"zips": 1})


def test_the_watermark_is_the_least_of_source_and_references() -> None:
    progress = joint()
    progress.told("0", 5000)
    assert progress.watermark(["zips"]) is None, "nothing has been heard of the reference"
    assert progress.watermark([]) == 5000
    progress.heard("zips", 0, 4000)
    assert progress.watermark(["zips"]) == 2999
    progress.heard("zips", 0, 90_000)
    assert progress.watermark(["zips"]) == 5000, "the source has not gone further"


def test_an_idle_reference_holds_nobody_back_and_does_so_again_when_it_returns() -> None:
    progress = joint()
    progress.told("0", 5000)
    progress.heard("zips", 0, 1000)
    for at in range(5500, 15_000, 500):
        progress.passed(500)
        progress.told("0", at)
        assert progress.watermark(["zips"]) == -1
    progress.passed(500)
    progress.told("0", 15_000)
    assert progress.watermark(["zips"]) == 15_000
    progress.heard("zips", 0, 9000)
    assert progress.watermark(["zips"]) == 7999


def test_a_reference_never_heard_of_is_idle_after_a_while() -> None:
    progress = joint()
    for now in range(0, 11_000, 500):
        progress.told("0", now)
        assert (progress.watermark(["zips"]) is None) == (now < 10_000)
        progress.passed(500)


def test_the_slowest_instance_counts_until_it_says_that_it_is_idle() -> None:
    progress = joint()
    progress.heard("zips", 0, 90_000)
    progress.told("0", 5000)
    progress.told("1", 6000)
    assert progress.watermark(["zips"]) == 5000
    progress.told("0", None)
    progress.told("1", 7000)
    assert progress.watermark(["zips"]) == 7000
    progress.told("0", 6500)
    assert progress.watermark(["zips"]) == 7000, "it never goes back"
    progress.told("1", None)
    progress.told("0", 8000)
    progress.told("0", None)
    assert progress.watermark(["zips"]) == 8000, "nobody is active: it stays"


def test_a_silent_source_is_not_overtaken() -> None:
    progress = joint()
    progress.told("0", 5000)
    for now in range(0, 60_000, 500):
        progress.heard("zips", 0, 100_000 + now)
        assert progress.watermark(["zips"]) == 5000
        progress.passed(500)


# the operators


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The decoding operators' clock, which goes on each time it is asked."""
    now = [START + 10**9]

    def later() -> int:
        now[0] += 120
        return now[0]

    monkeypatch.setattr(decode_events, "_now", later)
    monkeypatch.setattr(decode_references, "_now", later)
    return now


def streamed(count: int, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Events and changes in order of arrival; some of both come up to 900 ms late."""
    rng = random.Random(seed)
    sent, told = [], []
    for i in range(count):
        event = {"id": f"e{i}", "account": f"a{rng.randrange(6)}", "at": START + 40 * i}
        event |= {"zip": rng.choice([None, *range(8)]), "amount": rng.uniform(0, 5)}
        sent.append((40 * i + rng.randrange(900) * (rng.random() < 0.1), event))
        if i % 5 == 0:
            row = {"zip": rng.randrange(8), "since": START + 40 * i + rng.randrange(40)}
            row |= {"town": rng.choice(["x", "yy", "zzz"]), "factor": rng.uniform(0, 3)}
            row |= {"gone": rng.random() < 0.2}
            told.append((40 * i + rng.randrange(900) * (rng.random() < 0.2), row))
    return tuple([one for _, one in sorted(of, key=lambda m: m[0])] for of in (sent, told))  # type: ignore[return-value]


VIEWS = ("spend_v1", "busy_v1", "plain_v1", "by_town_v1")


def at_once(sent: list[dict[str, Any]], told: list[dict[str, Any]]) -> FeatureHarness:
    harness = FeatureHarness(DECLARED)
    harness.refer("zips", told)
    harness.send(sent)
    harness.end()
    return harness


@given(
    st.integers(0, 100),
    st.lists(st.integers(1, 90), min_size=1, max_size=6),
    st.dictionaries(st.integers(0, 5), st.integers(1, len(GROUPS.keys))),
    st.sampled_from([(0, 2), (3, 2), (1000, 1000)]),
    st.booleans(),
)
@settings(max_examples=16)
def test_batches_order_and_restarts_change_nothing(
    seed: int, sizes: list[int], restarts: dict[int, int], kept: tuple[int, int], behind: bool
) -> None:
    (written, resident), (sent, told) = kept, streamed(sum(sizes), seed)
    with pytest.MonkeyPatch.context() as patch:
        now = iter(range(START + 10**9, START + 10**12, 1000))
        for module in (decode_events, decode_references):
            patch.setattr(module, "_now", lambda: next(now))
        reference = at_once(sent, told)
        harness = FeatureHarness(DECLARED, written=written, resident=resident)
        start = 0
        for at, size in enumerate(sizes):
            if at in restarts:
                harness.restart(restarts[at])
            batch = told[start // 5 : (start + size) // 5]
            for turn in (behind, not behind):
                if turn and batch:
                    harness.refer("zips", batch)
                elif not turn:
                    harness.send(sent[start : start + size])
            start += size
        if told[start // 5 :]:
            harness.refer("zips", told[start // 5 :])
        harness.end()
    late = [letter.code for letter in harness.dead if letter.data_type != "by_town_v1"]
    assert late == [] == [letter.code for letter in reference.dead if letter.data_type != "by_town_v1"]
    for view in VIEWS:
        assert harness.final(view) == reference.final(view), view
    assert len(harness.final("spend_v1")) == len(sent)


def test_events_wait_for_the_reference_and_plain_views_do_not(clock: list[int]) -> None:
    sent, told = streamed(400, 1)
    harness = FeatureHarness(DECLARED)
    harness.refer("zips", told[:20])
    for start in range(0, 400, 50):
        harness.send(sent[start : start + 50])
    counts = {view: len(harness.final(view)) for view in ("spend_v1", "plain_v1")}
    assert counts["plain_v1"] > 300 and 0 < counts["spend_v1"] < 100
    assert max(r["event_timestamp"] for r in harness.final("spend_v1")) < max(r["since"] for r in told[:20])
    harness.refer("zips", told[20:])
    assert len(harness.final("spend_v1")) > 300
    harness.end()
    assert not [letter for letter in harness.dead if letter.data_type != "by_town_v1"]
    assert harness.final("spend_v1") == at_once(sent, told).final("spend_v1")


def test_a_silent_reference_holds_events_back_by_beats_and_one_that_has_ended_not_at_all(
    clock: list[int],
) -> None:
    sent, told = streamed(400, 1)
    for silent, after in ((1000, 10), (2**63 - 1, 1)):
        harness = FeatureHarness(DECLARED)
        harness.refer("zips", told[:20])
        harness.send(sent)
        for _ in range(after):
            assert len(harness.final("spend_v1")) < 100, "no time has passed where references are read"
            harness.pass_at_references(silent)
        assert len(harness.final("spend_v1")) > 300


def test_a_view_over_a_view_finds_its_reference_when_that_one_is_final_late(clock: list[int]) -> None:
    """The upper view's own reference is far ahead, and the lower view waits for another."""
    codes = msgspec.structs.replace(ZIPS, name="codes", topic="codes")
    enrich = Enrichment(reference="codes", on="code", columns={"factor": "factor"})
    above = msgspec.structs.replace(BY_TOWN, steps=(BY_TOWN.steps[0], enrich))
    harness = FeatureHarness(Declarations(sources=(SIGNALS,), references=(ZIPS, codes), views=(SPEND, above)))
    zips = [{"zip": 1, "since": START + at, "town": "aa"} for at in (0, 60_000)]
    factors = [(0, 1.0), (10_000, 2.0), (60_000, 3.0)]
    harness.refer("zips", zips[:1])
    harness.refer("codes", [{"zip": 2, "since": START + at, "factor": factor} for at, factor in factors])
    times = START + 5000, START + 60_000
    harness.send([{"id": str(at), "account": "a", "at": at, "zip": 1, "amount": 1.0} for at in times])
    harness.restart()
    assert harness.final("spend_v1") == []
    harness.refer("zips", zips[1:])
    harness.end()
    assert [row["factor"] for row in harness.final("by_town_v1")] == [1.0, 3.0]


def test_a_reference_that_is_silent_no_longer_holds_events_back(clock: list[int]) -> None:
    sent, told = streamed(400, 2)
    harness = FeatureHarness(DECLARED)
    harness.refer("zips", told[:2])
    for start in range(0, 400, 100):
        harness.send(sent[start : start + 100])
    before = len(harness.final("spend_v1"))
    for _ in range(200):
        clock[0] += 900
        harness.on_timer(clock[0])
    assert before < 50 and len(harness.final("spend_v1")) > 300
    harness.refer("zips", [told[5], {**told[-1], "since": told[-1]["since"] + 10**7}])
    letters = [letter for letter in harness.dead if letter.code == "late_reference"]
    assert {letter.data_type for letter in letters} == {"spend_v1", "busy_v1", "by_town_v1"}
    assert {letter.reason.partition(": ")[2] for letter in letters} == {
        "row 'topic/0/2' of reference zips: events at or after its time were final when it came; it "
        "counts from now on"
    }
    assert {(letter.source, letter.offset) for letter in letters} == {("topic", 2)}


def test_check_consistency_says_where_rows_of_references_came_late(clock: list[int], tmp_path: Path) -> None:
    declared = feature_enriched.declare(tmp_path / "views.py", history=str(tmp_path / "past"))
    feature_enriched.write_histories(declared, feature_enriched.streams(400, START, 10), S3Options())
    letters = [
        DeadLetter("spend_v1", "zips", 0, at, START, "late_reference", "came late", "", 0) for at in (3, 4)
    ]
    (tmp_path / "letters").write_bytes(b"\n".join(map(encode, letters)))
    arguments = ["check-consistency", str(tmp_path / "views.py"), "--history", str(tmp_path / "none")]
    done = CliRunner().invoke(app, [*arguments, "--dead-letters", str(tmp_path / "letters")])
    assert done.exit_code == 0
    assert done.stderr == ("spend_v1: 2 rows of references came late, so that rows final before may differ\n")
    assert "busy_v1 history: 0 equal" in done.stdout


def test_bad_rows_of_a_reference_are_dead_letters_and_sums_hold(clock: list[int]) -> None:
    sent, told = streamed(100, 3)
    harness = FeatureHarness(DECLARED)
    bad: list[bytes | dict[str, Any]] = [
        b"{",
        {"zip": None, "since": START},
        {"since": START, "zip": "x"},
        {"zip": 1, "since": clock[0] + 10**8},
    ]
    harness.refer("zips", [*told, *bad])
    harness.send(sent)
    harness.end()
    letters = Counter(letter.code for letter in harness.dead if letter.data_type == "zips")
    assert letters == {"unparsable": 1, "null": 1, "wrong_type": 1, "future": 1}
    of_towns = Counter(letter.code for letter in harness.dead if letter.data_type == "by_town_v1")
    assert len(harness.final("spend_v1")) == 100
    assert len(harness.final("by_town_v1")) + of_towns["null_key"] == 100
