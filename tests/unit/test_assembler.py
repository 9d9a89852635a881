"""Requests become completions or expirations, each once, whatever stores and creators do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from schemas.errors import RegistryError, StoreError
from schemas.features.declarations import Declarations
from tests.assembly_fakes import HandCreator, MemoryReader, filled_registry
from tests.feature_cases import CREATOR, DECLARED, HOUSES, INPUTS
from udfs.enrichment.assembler import OnlineAssembler
from udfs.enrichment.base import Completed, Expired, FeatureStamp, Outcome, PredictionRequest
from udfs.enrichment.plans import Plans
from udfs.stores.registry.base import FeatureRef
from udfs.stores.registry.sql import SqlRegistry

NOW = 1_000_000


class Harness:
    def __init__(self, registry: SqlRegistry | Plans, places: int = 100) -> None:
        self.reader, self.creator = MemoryReader(), HandCreator(places)
        plans = registry if isinstance(registry, Plans) else make_plans(registry)
        self.assembler = OnlineAssembler(plans, self.reader, self.creator)
        self.reader.rows["districts_v1", (1,)] = NOW - 300, {"mean_price": 2.5, "sold": 4}
        self.reader.rows["houses_v1", ("old",)] = NOW - 20_000, {"price": 1.0}
        self.reader.rows["houses_v1", ("here",)] = NOW - 100, {"price": 7.0}

    def take(self, *requests: PredictionRequest, key: str = "0", now: int = NOW) -> list[str]:
        return said(self.assembler.take(key, {r.id: r for r in requests}, now))

    def on_timer(self, now: int, key: str = "0") -> list[str]:
        return said(self.assembler.on_timer(key, now))


def make_plans(registry: SqlRegistry) -> Plans:
    views = {view.id: registry.stored(view.id) for view in DECLARED.views}
    return Plans(registry, views, [*views])


def said(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{o.request.id} {o.record['mean']} {o.record['last']}"
        if isinstance(o, Completed)
        else f"{o.request.id} expired: {', '.join([*o.missing.values(), *filter(None, [o.reason])])}"
        for o in outcomes
    ]


def request(name: str, house: Any = "here", **more: Any) -> PredictionRequest:
    defaults: dict[str, Any] = {"model": "estimate", "entities": {"house": house, "district": 1}}
    return PredictionRequest(id=name, **(defaults | {"created": NOW} | more))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> SqlRegistry:
    return filled_registry(tmp_path_factory.mktemp("registry"))


@pytest.fixture
def harness(registry: SqlRegistry) -> Harness:
    return Harness(registry)


def test_what_is_present_completes_at_once_with_value_version_and_age(harness: Harness) -> None:
    asked = request("a", fields={"rooms": 3, "id": "not this"}, version=4)
    (one,) = harness.assembler.take("0", {"a": asked}, NOW + 50)
    assert isinstance(one, Completed) and (one.request, one.data_type) == (asked, "estimate")
    assert one.record == {"rooms": 3, "id": "a", "mean": 2.5, "last": 7.0}
    assert one.stamps == (
        FeatureStamp("districts_v1:mean_price", 1, 2.5, 350),
        FeatureStamp("houses_v1:price", 1, 7.0, 150),
    )
    assert harness.assembler.open("0") == {} and not harness.creator.asked


def test_a_batch_is_one_question_to_the_store(harness: Harness) -> None:
    assert harness.take(*(request(str(n), "here" if n % 2 else "old") for n in range(6))) == [
        "1 2.5 7.0",
        "3 2.5 7.0",
        "5 2.5 7.0",
    ]
    assert harness.reader.calls == [[("districts_v1", ("mean_price",)), ("houses_v1", ("price",))]]
    assert harness.creator.asked == {("houses_v1", ("old",)): 1}, "three requests wait for one call"
    assert [*harness.assembler.open("0")] == ["0", "2", "4"]


def test_missing_and_expired_rows_are_created_and_stored(harness: Harness) -> None:
    assert harness.take(request("a", "old"), request("b", "new")) == []
    harness.creator.answer(NOW + 40, "new", price=9.0)
    assert harness.on_timer(NOW + 50) == ["b 2.5 9.0"]
    (made,) = harness.assembler.created()
    assert (made.view.id, made.entity, made.values) == ("houses_v1", ("new",), {"price": 9.0})
    harness.creator.answer(NOW + 60, "old", price=8.0)
    (one,) = harness.assembler.on_timer("0", NOW + 65)
    assert isinstance(one, Completed)
    assert one.stamps[1] == FeatureStamp("houses_v1:price", 1, 8.0, 5, created_on_demand=True)
    assert harness.assembler.open("0") == {}


def test_what_was_made_a_moment_ago_is_not_asked_for_again(harness: Harness) -> None:
    """The store, which somebody else writes, may not have it yet."""
    harness.take(request("a", "new"))
    harness.creator.answer(NOW + 10, "new", price=9.0)
    assert harness.on_timer(NOW + 10) == ["a 2.5 9.0"]
    assert harness.take(request("b", "new"), now=NOW + 900) == ["b 2.5 9.0"]
    assert harness.take(request("c", "new"), now=NOW + 999) == ["c 2.5 9.0"]
    assert harness.creator.asked["houses_v1", ("new",)] == 1
    later = NOW + 1010
    assert harness.take(request("d", "new", created=later), now=later) == []
    assert harness.creator.asked["houses_v1", ("new",)] == 2


def test_a_call_that_does_not_come_back_holds_up_nobody_else(harness: Harness) -> None:
    assert harness.take(request("stuck", "new")) == []
    for n in range(5):
        assert harness.take(request(f"{n}"), now=NOW + n) == [f"{n} 2.5 7.0"]
    assert harness.on_timer(NOW + 999) == []
    assert harness.on_timer(NOW + 1000) == ["stuck expired: missing"]
    harness.creator.answer(NOW + 1500, "new", price=9.0)
    assert harness.on_timer(NOW + 1500) == []
    assert [made.values for made in harness.assembler.created()] == [{"price": 9.0}], "of use to the next"


def test_without_a_creator_nobody_waits(harness: Harness) -> None:
    asked = request("a", entities={"house": "new", "district": 2})
    (one,) = harness.assembler.take("0", {"a": asked}, NOW)
    missing = {"districts_v1:mean_price": "missing", "houses_v1:price": "missing"}
    assert one == Expired(asked, missing)
    assert not harness.creator.asked


def test_a_creator_that_fails_is_asked_again_after_its_timeout(harness: Harness) -> None:
    harness.take(request("a", "new"))
    harness.creator.answer(NOW + 10, "new", error="answered 500")
    assert harness.on_timer(NOW + 10) == []
    harness.on_timer(NOW + 10 + CREATOR.timeout_ms - 1)
    assert harness.creator.asked["houses_v1", ("new",)] == 1
    harness.on_timer(NOW + 10 + CREATOR.timeout_ms)
    assert harness.creator.asked["houses_v1", ("new",)] == 2
    harness.creator.answer(NOW + 500, "new", error="answered 404")
    assert harness.on_timer(NOW + 1000) == ["a expired: answered 404"]
    assert harness.assembler.created() == []


def test_places_are_taken_in_turn(registry: SqlRegistry) -> None:
    harness = Harness(registry, places=1)
    harness.take(*(request(name, name) for name in "abc"))
    order = []
    for n in range(3):
        ((_, (entity,)),) = harness.creator.running
        order.append(entity)
        harness.creator.answer(NOW, entity, price=float(n))
        harness.on_timer(NOW + n)
    assert order == ["a", "b", "c"]


def test_what_comes_after_the_deadline_completes_nothing(harness: Harness) -> None:
    harness.take(request("a", "new"))
    harness.creator.answer(NOW + 999, "new", price=9.0)
    assert harness.on_timer(NOW + 1000) == ["a expired: the last of its features came too late"]
    assert len(harness.assembler.created()) == 1


def test_lanes_share_calls_and_keep_their_outcomes(harness: Harness) -> None:
    harness.take(request("a", "new"), key="0")
    harness.take(request("b", "new"), key="1")
    assert sum(harness.creator.asked.values()) == 1
    harness.creator.answer(NOW, "new", price=9.0)
    assert harness.on_timer(NOW + 1, "0") == ["a 2.5 9.0"]
    assert harness.on_timer(NOW + 1, "1") == ["b 2.5 9.0"]
    assert harness.on_timer(NOW + 2, "1") == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "other"}, "does not know what model 'other' reads"),
        ({"entities": {"house": "here"}}, "entities must have 'district'"),
        ({"entities": {"house": 3, "district": 1}}, "'house' is int where string belongs"),
        ({"entities": {"house": "here", "district": "1"}}, "'district' is str where int64 belongs"),
    ],
)
def test_a_request_that_cannot_be_understood_leaves_at_once(
    harness: Harness, changes: dict[str, Any], says: str
) -> None:
    wrong, right = harness.take(request("a", **changes), request("b"))
    assert says in wrong and right == "b 2.5 7.0"
    assert harness.assembler.open("0") == {}


def test_what_came_too_late_is_not_looked_up(harness: Harness) -> None:
    assert harness.take(request("a", created=NOW - 1000)) == ["a expired: "]
    assert harness.reader.calls == []


def test_a_clock_ahead_does_not_prolong_a_request(harness: Harness) -> None:
    harness.take(request("a", "new", created=NOW + 50_000))
    assert harness.on_timer(NOW + 1000) == ["a expired: missing"]


def test_while_the_store_is_away_requests_wait_and_say_why(harness: Harness) -> None:
    harness.reader.away = True
    assert harness.take(request("a"), request("b", expires_ms=5000)) == []
    assert harness.take(request("c"), now=NOW + 10) == [] and len(harness.reader.calls) == 1
    assert harness.on_timer(NOW + 100) == [] and len(harness.reader.calls) == 1, (
        "it is left alone for a while"
    )
    assert harness.on_timer(NOW + 1000) == ["a expired: the store is away", "c expired: the store is away"]
    harness.reader.away = False
    assert harness.on_timer(NOW + 1300) == ["b 2.5 7.0"]


def test_models_and_creators_may_be_registered_while_the_job_runs(tmp_path: Path) -> None:
    registry = filled_registry(tmp_path)
    harness = Harness(registry)
    assert "does not know" in harness.take(request("a", model="later"))[0]
    last = (("mean", FeatureRef("houses_v1", "price")), ("last", FeatureRef("houses_v1", "price")))
    registry.put_model(replace(INPUTS, model="later", inputs=last))
    at = NOW + 5_000
    assert harness.take(request("b", model="later", created=at), now=at) == ["b 7.0 7.0"]


def test_a_view_of_after_the_start_is_told_apart(tmp_path: Path) -> None:
    registry = filled_registry(tmp_path)
    harness = Harness(registry)
    registry.apply(Declarations(views=(msgspec.structs.replace(HOUSES, version=2),)))
    registry.put_model(replace(INPUTS, model="later", inputs=(("x", FeatureRef("houses_v2", "price")),)))
    (said_of_it,) = harness.take(request("a", model="later"))
    assert "houses_v2, which was registered after the job had started: restart the job" in said_of_it


class Registering(SqlRegistry):
    """Counts what it is asked, and is away when told so."""

    asked, away = 0, False

    def model(self, *args: Any) -> Any:
        self.asked += 1
        if self.away:
            raise StoreError("the database is away")
        return super().model(*args)


def test_the_registry_is_asked_now_and_then_and_may_be_away(tmp_path: Path) -> None:
    filled_registry(tmp_path)
    registry = Registering(f"sqlite:///{tmp_path}/registry.db")
    harness = Harness(registry)
    registry.away = True
    assert harness.take(request("a")) == []
    assert harness.on_timer(NOW + 1000) == ["a expired: the database is away"]
    registry.away = False
    at = NOW + 2_000
    for n in range(5):
        assert harness.take(request("b", created=at + n), now=at + n) == ["b 2.5 7.0"]
    asked = registry.asked
    registry.away = True
    at = NOW + 40_000
    harness.reader.rows["houses_v1", ("here",)] = harness.reader.rows["districts_v1", (1,)] = (
        at,
        {"price": 7.0, "mean_price": 2.5},
    )
    assert harness.take(request("c", created=at), now=at) == ["c 2.5 7.0"], "what it said before stands"
    assert registry.asked == asked + 1


steps = st.one_of(
    st.tuples(
        st.just("take"),
        st.sampled_from("01"),
        st.lists(
            st.tuples(st.sampled_from(["here", "old", "n1", "n2", "n3"]), st.integers(1, 400)), max_size=4
        ),
    ),
    st.tuples(st.just("timer"), st.sampled_from("01"), st.integers(0, 300)),
    st.tuples(st.just("answer"), st.booleans()),
    st.tuples(st.just("away"), st.booleans()),
    st.just(("restart",)),
)


@pytest.fixture(scope="module")
def plans(registry: SqlRegistry) -> Plans:
    return make_plans(registry)


@settings(max_examples=80)
@given(plan=st.lists(steps, max_size=30), places=st.integers(1, 3))
def test_every_request_has_one_outcome(plans: Plans, plan: Sequence[Any], places: int) -> None:
    """`state` is what Flink would keep; a restart throws away all the rest."""
    state: dict[str, Mapping[str, PredictionRequest]] = {"0": {}, "1": {}}
    outcomes: Counter[str] = Counter()
    harness, now, sent = Harness(plans, places), NOW, 0

    def gone(key: str, left: Sequence[Outcome]) -> None:
        outcomes.update(o.request.id for o in left)
        state[key] = dict(harness.assembler.open(key))
        for one in left:
            if isinstance(one, Completed):
                assert {*one.record} == {"id", "mean", "last"}

    for step in plan:
        if step[0] == "take":
            new = [
                request(str(sent + n), house, created=now, expires_ms=ms)
                for n, (house, ms) in enumerate(step[2])
            ]
            sent += len(new)
            gone(step[1], harness.assembler.take(step[1], {r.id: r for r in new}, now))
        elif step[0] == "timer":
            now += step[2]
            gone(step[1], harness.assembler.on_timer(step[1], now))
        elif step[0] == "answer" and harness.creator.running:
            ((_, (entity,)), *_) = harness.creator.running
            harness.creator.answer(now, entity, **({"price": 1.0} if step[1] else {"error": "no"}))
        elif step[0] == "away":
            harness.reader.away = step[1]
        elif step[0] == "restart":
            harness = Harness(plans, places)
            for key, requests in state.items():
                gone(key, harness.assembler.take(key, requests, now))
    for key in "01":
        now += 500
        gone(key, harness.assembler.on_timer(key, now))
    assert outcomes == Counter(map(str, range(sent)))
    assert state == {"0": {}, "1": {}}


def test_models_that_are_not_there_are_not_remembered_without_end(registry: SqlRegistry, monkeypatch) -> None:
    monkeypatch.setattr("udfs.enrichment.plans._MOST_KEPT", 5)
    plans = make_plans(registry)
    known = plans.plan("estimate", 0, NOW)
    for n in range(20):
        with pytest.raises(RegistryError):
            plans.plan(f"m{n}", 0, NOW)
    assert plans.plan("estimate", 0, NOW) is known
    assert len(plans._kept) <= 5
