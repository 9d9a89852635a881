"""Decode and view operators with Flink's state in memory: order, lateness, restarts, views on views."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.features import decode_events
from operators.features.decode_events import DecodeEvents
from operators.features.feature_outputs import FeatureOutputs
from schemas.codecs.factory import CodecSpec
from schemas.errors import StoreError
from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Declarations,
    FeatureType,
    FeatureView,
    Function,
    LastN,
    Max,
    OnThreshold,
    Source,
    Sum,
    Trailing,
    Value,
)
from schemas.features.feature_batch import CREATED, TIMESTAMP, FeatureBatch
from tests.feature_enriched import declare
from tests.feature_harness import BEAT, GROUPS, FeatureHarness, Keyed
from udfs.features.base import ViewOutput
from udfs.features.events.decode_spec import DecodeSpec
from udfs.features.events.view_spec import ViewSpec
from udfs.stores.history.lines import to_lines

SIGNALS = Source(
    name="signals",
    columns=(
        Column(name="id", type=FeatureType.STRING),
        Column(name="account", type=FeatureType.STRING, nullable=True),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="amount", type=FeatureType.FLOAT64, nullable=True),
    ),
    event_time="at",
    event_id="id",
    out_of_orderness="1 s",
    codec=CodecSpec(max_bytes=1000),
)
MINUTES = Trailing(span="10 min", tile="1 min")
SPEND = FeatureView(
    name="spend",
    version=1,
    entity=("account",),
    source="signals",
    features=(
        Aggregate(name="n", of=Count(), window=MINUTES),
        Aggregate(name="total", of=Sum(column="amount"), window=MINUTES),
        Aggregate(name="newest", of=LastN(column="amount", n=3), window=Trailing(span="5 s")),
        Value(name="amount"),
    ),
    ttl="1 d",
    owner="tests",
    description="Money.",
)
BUSY = FeatureView(
    name="busy",
    version=1,
    entity=("account",),
    source="signals",
    features=(Aggregate(name="n", of=Count(), window=MINUTES),),
    emit=OnThreshold(feature="n", limit=20),
    ttl="1 d",
    owner="tests",
    description="Accounts with many events.",
)
PEAK = FeatureView(
    name="peak",
    version=1,
    entity=("account",),
    source="spend_v1",
    features=(
        Aggregate(name="most", of=Max(column="n"), window=MINUTES),
        Aggregate(name="rows", of=Count(), window=Trailing(span="1 h", tile="5 min")),
    ),
    ttl="1 d",
    owner="tests",
    description="Of the rows of spend.",
)
DECLARED = Declarations(sources=(SIGNALS,), views=(SPEND, BUSY, PEAK))
START = 1_700_000_000_000


def events(count: int, seed: int = 3, spread: int = 900) -> list[dict[str, Any]]:
    """In order of arrival: some come up to `spread` ms after their successors."""
    rng = random.Random(seed)
    made = []
    for i in range(count):
        amount = None if i % 11 == 0 else rng.uniform(-5, 5)
        late = rng.randrange(spread) if rng.random() < 0.05 else 0
        event = {"id": f"e{i}", "account": f"a{rng.randrange(12)}", "at": START + 40 * i, "amount": amount}
        made.append((40 * i + late, event))
    return [event for _, event in sorted(made, key=lambda m: m[0])]


def whole(sent: list[dict[str, Any]]) -> FeatureHarness:
    """All in one batch, so that nothing is final before everything has come."""
    harness = FeatureHarness(DECLARED)
    harness.send(sent)
    harness.end()
    return harness


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The decode operator's clock, which goes on each time it is asked."""
    now = [START + 10**9]

    def later() -> int:
        now[0] += 120
        return now[0]

    monkeypatch.setattr(decode_events, "_now", later)
    return now


VIEWS = ("spend_v1", "busy_v1", "peak_v1")


def test_out_of_order_within_the_bound_changes_nothing(clock: list[int]) -> None:
    sent = events(1500)
    reference, harness = whole(sorted(sent, key=lambda e: e["at"])), FeatureHarness(DECLARED)
    for start in range(0, len(sent), 70):
        harness.send(sent[start : start + 70])
    harness.end()
    assert harness.dead == []
    for view in VIEWS:
        assert harness.final(view) == reference.final(view)
    assert len(harness.final("spend_v1")) == 1500 and len(harness.final("busy_v1")) >= 12
    assert max(row["rows"] for row in harness.final("peak_v1")) > 50


@given(
    st.lists(st.integers(1, 80), min_size=1, max_size=6),
    st.sets(st.integers(0, 5)),
    st.sampled_from([0, 3, 1000]),
    st.sampled_from([2, 1000]),
)
@settings(max_examples=10)
def test_a_restart_anywhere_changes_nothing(
    sizes: list[int], restarts: set[int], written: int, resident: int
) -> None:
    sent = events(sum(sizes))
    with pytest.MonkeyPatch.context() as patch:
        now = iter(range(START + 10**9, START + 10**12, 1000))
        patch.setattr(decode_events, "_now", lambda: next(now))
        harness = FeatureHarness(DECLARED, written=written, resident=resident)
        start = 0
        for at, size in enumerate(sizes):
            if at in restarts:
                harness.restart()
            harness.send(sent[start : start + size])
            start += size
        harness.end()
    reference = whole(sent)
    assert harness.dead == []
    for view in VIEWS:
        assert harness.final(view) == reference.final(view)


def test_an_event_ahead_of_the_clock_makes_no_other_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = START + 60_000
    monkeypatch.setattr(decode_events, "_now", lambda: now)
    harness = FeatureHarness(DECLARED)

    def event(name: str, at: int) -> dict[str, Any]:
        return {"id": name, "account": "a", "at": at, "amount": 1.0}

    harness.send([event("a", now - 500), event("ahead", now + 59 * 60_000)])
    harness.send([event("b", now + 10)])
    assert harness.dead == []
    harness.end()
    assert harness.dead == [] and len(harness.final("spend_v1")) == 3


def test_events_whose_records_have_no_time_are_taken() -> None:
    harness = FeatureHarness(DECLARED)
    harness.send(events(3), at=None)
    harness.end()
    assert harness.dead == [] and len(harness.final("spend_v1")) == 3


@given(
    st.lists(
        st.tuples(
            st.integers(1, 80),
            st.sampled_from(["go on", "checkpoint", "savepoint", "crash"]),
            st.integers(1, len(GROUPS.keys)),
        ),
        min_size=2,
        max_size=7,
    ),
    st.sampled_from([0, 3, 1000]),
    st.sampled_from([2, 1000]),
)
@settings(max_examples=25)
def test_any_parallelism_goes_on_from_any_other(
    steps: list[tuple[int, str, int]], written: int, resident: int
) -> None:
    """Savepoints, and crashes after which all since the last checkpoint is read again."""
    sent = events(sum(size for size, _, _ in steps))
    with pytest.MonkeyPatch.context() as patch:
        now = iter(range(START + 10**9, START + 10**12, 1000))
        patch.setattr(decode_events, "_now", lambda: next(now))
        harness = FeatureHarness(DECLARED, parallelism=3, written=written, resident=resident)
        harness.checkpoint()
        start = kept = 0
        for size, act, parallelism in steps:
            for partition in range(2):
                harness.send(sent[start : start + size][partition::2], partition)
            start += size
            if act == "crash":
                harness.crash(parallelism)
                for partition in range(2):
                    harness.send(sent[kept:start][partition::2], partition)
            elif act == "savepoint":
                harness.restart(parallelism)
            elif act == "checkpoint":
                harness.checkpoint()
            kept = start if act in ("savepoint", "checkpoint") else kept
        harness.end()
    reference = whole(sent)
    assert harness.dead == []
    for view in VIEWS:
        assert harness.final(view) == reference.final(view)


def test_four_instances_share_the_work_and_one_call_computes_an_instance(clock: list[int]) -> None:
    sent = [{"id": str(i), "account": f"b{i}", "at": START + i, "amount": 1.0} for i in range(400)]
    for parallelism in (1, 4):
        harness = FeatureHarness(DECLARED, parallelism=parallelism)
        harness.send(sent)
        sizes = [batch.num_rows for batch in harness.provisional["spend_v1"]]
        assert sum(sizes) == 400 and len(sizes) == parallelism and min(sizes) > 280 // parallelism


def test_time_that_goes_on_between_a_mark_and_its_barrier_is_kept(clock: list[int]) -> None:
    harness = FeatureHarness(DECLARED)
    harness.send(events(50))
    harness.checkpoint()
    harness.pass_watermark(START + 1200)
    assert 20 < len(harness.final("spend_v1")) < 50 and len(harness.final("peak_v1")) > 20
    before = [harness.final(view) for view in VIEWS]
    harness.keep()
    harness.crash(2)
    harness.end()
    assert [harness.final(view) for view in VIEWS] == [whole(events(50)).final(view) for view in VIEWS]
    assert all(len(after) >= len(then) for after, then in zip(map(harness.final, VIEWS), before, strict=True))
    assert harness.dead == []


def test_an_instance_is_waited_for_until_it_finds_itself_idle(clock: list[int]) -> None:
    harness = FeatureHarness(DECLARED, parallelism=2)
    good = events(400)
    busy, slow = harness.decode

    def looks(instance: Keyed, count: int, *values: bytes) -> None:
        for _ in range(count):
            clock[0] += 1000
            for value in values:
                harness.take(instance.index, instance.element(GROUPS.keys_of_parts(2)[instance.index], value))
            harness.take(instance.index, instance.pass_time(clock[0]))

    for partition in (0, 1):
        harness.send(good[partition:20:2], partition)
    looks(busy, 100, BEAT)
    looks(slow, 100)
    assert harness.final("spend_v1") == [], "no time has passed where the other's records are read"
    looks(slow, 100, BEAT)
    final = len(harness.final("spend_v1"))
    harness.send(good[20:200:2], 0)
    looks(busy, 100, BEAT)
    assert len(harness.final("spend_v1")) > final
    harness.send(good[399:], 1)
    harness.end()
    assert harness.dead == []


def test_an_entity_of_another_instance_is_an_error(clock: list[int]) -> None:
    """As where operators of one job have been given different parallelisms."""
    harness = FeatureHarness(DECLARED, parallelism=2)
    decode = Keyed(DecodeEvents(DecodeSpec(DECLARED, ("signals",), len(GROUPS.keys), 100), GROUPS))
    harness.decode[0] = decode
    with pytest.raises(StoreError, match="came to instance 0 of 2, which has the key groups 0 to 3"):
        harness.send(events(50))


def test_every_event_becomes_final_or_a_dead_letter(clock: list[int]) -> None:
    good = events(500)
    harness = FeatureHarness(DECLARED)
    harness.send(good[:250])
    bad: list[bytes | dict[str, Any]] = [
        b"{",
        b"",
        b"[]",
        b'{"id": "' + b"x" * 1000 + b'"}',
        {"id": "x", "at": START},
        {"id": "x", "account": "a", "at": None},
        {"id": "x", "account": "a", "at": "soon"},
        {"id": "x", "account": "a", "at": START, "amount": "1"},
        {"id": "x", "account": "a", "at": clock[0] + 10**8},
        {"id": "x", "account": "a", "at": -(10**15)},
    ]
    harness.send(bad)
    harness.send(good[250:])
    harness.send([good[10], good[-1], good[-1]])  # late, duplicate, duplicate
    harness.end()
    codes = Counter(letter.code for letter in harness.dead)
    assert codes == {
        "unparsable": 2,
        "not_an_object": 1,
        "too_large": 1,
        "null_key": 2,  # of each view that reads the source
        "null": 1,
        "wrong_type": 2,
        "future": 1,
        "out_of_range": 1,
        "late": 2,
        "duplicate": 4,
    }
    assert len(harness.final("spend_v1")) == 500 == len(harness.final("peak_v1"))
    assert all(
        letter.reason and letter.size == len(letter.raw) * 3 // 4 - letter.raw.count("=")
        for letter in harness.dead
    )


def test_an_entity_is_served_before_it_is_final(clock: list[int]) -> None:
    harness = FeatureHarness(DECLARED)
    harness.send([{"id": "1", "account": "a", "at": START, "amount": 2.0}])
    [row] = [row for batch in harness.provisional["spend_v1"] for row in batch.to_pylist()]
    assert (row["n"], row["total"], row["event_timestamp"]) == (1, 2.0, START)
    assert not harness.rows["spend_v1"]


def test_what_left_as_provisional_does_not_go_online_again(clock: list[int]) -> None:
    harness, once = FeatureHarness(DECLARED), FeatureHarness(DECLARED, final_again=False)
    for each in (harness, once):
        for start in range(0, 300, 50):
            each.send(events(300)[start : start + 50])
        each.end()
    assert once.provisional.keys() == harness.provisional.keys() == {"spend_v1", "peak_v1"}
    assert sum(batch.num_rows for batch in harness.rows["spend_v1"]) == 300
    assert once.rows.keys() == harness.rows.keys() - once.provisional.keys() == {"busy_v1"}
    assert [without_created(once.lines[v]) for v in VIEWS] == [
        without_created(harness.lines[v]) for v in VIEWS
    ]


def test_what_a_reference_may_have_changed_goes_online_again(tmp_path: Path) -> None:
    enriched = declare(tmp_path / "views.py")
    named = ("spend_v1", "plain_v1")
    declared = msgspec.structs.replace(enriched, views=tuple(v for v in enriched.views if v.id in named))
    outputs = FeatureOutputs(ViewSpec(declared, named, history=False, final_again=False), ("0",))
    rows = pa.RecordBatch.from_pylist([{"account": "a", TIMESTAMP: 1, CREATED: 2}])
    sent = {
        (name, final): len(list(outputs.rows(name, ViewOutput([FeatureBatch(name, final, rows)]))))
        for name in named
        for final in (False, True)
    }
    assert sent == {
        ("spend_v1", False): 1, ("spend_v1", True): 1, ("plain_v1", False): 1, ("plain_v1", True): 0,
    }  # fmt: skip


def without_created(batches: list[bytes]) -> list[list[bytes]]:
    return [[line.rpartition(b"\x1f")[0] for line in batch.split(b"\n")] for batch in batches]


def test_history_gets_final_rows_only(clock: list[int]) -> None:
    harness = FeatureHarness(DECLARED)
    for start in range(0, 300, 50):
        harness.send(events(300)[start : start + 50])
    harness.end()
    for view in VIEWS:
        assert harness.lines[view] == [to_lines(batch) for batch in harness.rows[view] if batch.num_rows]


def test_an_event_of_its_own_batch_is_not_late(clock: list[int]) -> None:
    """Ten minutes in one batch, over several key groups: what comes first refuses nothing of the rest."""
    sent = [{"id": str(i), "account": f"a{i % 9}", "at": START + 1000 * i} for i in range(600)]
    harness = FeatureHarness(DECLARED)
    harness.send(sent)
    harness.end()
    assert harness.dead == [] and len(harness.final("spend_v1")) == 600


def test_one_partition_ahead_refuses_nothing_of_the_other(clock: list[int]) -> None:
    harness = FeatureHarness(DECLARED, partitions=2)
    sent = events(400)
    for start in range(0, 400, 40):
        harness.send(sent[start : start + 40], partition=0)
    assert not harness.rows["spend_v1"], "nothing is final before the second partition has been heard of"
    harness.send([{**event, "id": f"other {event['id']}"} for event in sent], partition=1)
    harness.end()
    assert harness.dead == [] and len(harness.final("spend_v1")) == 800


def test_an_event_whose_step_fails_stands_alone(clock: list[int]) -> None:
    step = Function(
        name="root", function="tests.feature_steps:root", inputs=("amount",), type=FeatureType.FLOAT64
    )
    view = FeatureView(
        name="roots",
        version=1,
        entity=("account",),
        source="signals",
        steps=(step,),
        features=(Value(name="root"),),
        ttl="1 d",
        owner="tests",
        description="Roots.",
    )
    harness = FeatureHarness(Declarations(sources=(SIGNALS,), views=(view,)))
    amounts = [4.0, -1.0, 9.0, 16.0, -2.0]
    harness.send(
        [{"id": str(i), "account": "a", "at": START + i, "amount": a} for i, a in enumerate(amounts)]
    )
    harness.end()
    assert [row["root"] for row in harness.final("roots_v1")] == [2.0, 3.0, 4.0]
    assert [(d.code, d.offset) for d in harness.dead] == [("step_failed", 1), ("step_failed", 4)]
