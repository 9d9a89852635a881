"""The assembling operator with Flink's state and timers in memory: exactly one outcome, over restarts too."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given, settings

from operators.features.assemble_requests import AssembleRequests
from operators.features.assembly_rows import EXPIRED, MADE
from operators.features.feature_rows import HISTORY, features_of
from operators.rows import DEAD_LETTERS
from schemas.micro_batch import MicroBatch, encode_micro_batch
from schemas.results.records import DeadLetter, decode
from tests.assembly_fakes import HandCreator, MemoryReader, filled_registry
from tests.feature_cases import DECLARED
from tests.feature_harness import END, Keyed
from tests.output_batches import messages_of
from udfs.enrichment.assembler import OnlineAssembler
from udfs.enrichment.assembly_spec import Assembling
from udfs.enrichment.plans import Plans
from udfs.enrichment.wire import LONGEST
from udfs.stores.registry.sql import SqlRegistry

NOW = 1_000_000


class Clocked(HandCreator):
    """Waiting takes a second of the operator's clock."""

    keyed: Keyed

    def wait(self, seconds: float) -> None:
        self.keyed.clock += 1000


class Spec:
    """In the place of AssemblySpec: a store and a creator in memory."""

    def __init__(self, registry: SqlRegistry, plans: Plans) -> None:
        self.registry, self.plans = registry, plans
        self.reader, self.creator = MemoryReader(), Clocked()
        self.reader.rows["districts_v1", (1,)] = NOW, {"mean_price": 2.5}
        self.reader.rows["houses_v1", ("here",)] = NOW, {"price": 7.0}

    def assembling(self) -> Assembling:
        self.creator = Clocked()
        assembler = OnlineAssembler(self.plans, self.reader, self.creator)
        return Assembling(assembler, self.creator, self.reader, self.registry)


class Harness:
    def __init__(self, registry: SqlRegistry, plans: Plans) -> None:
        self.spec = Spec(registry, plans)
        self.keyed = Keyed(self._function())
        self.keyed.clock = self._since = NOW
        self.offset = 0
        self.out: dict[str, list[Any]] = {"done": [], "expired": [], "dead": [], "made": [], "history": []}
        self.spec.creator.keyed = self.keyed

    def _function(self) -> AssembleRequests:
        return AssembleRequests(self.spec)  # type: ignore[arg-type]

    def send(self, *payloads: bytes | Mapping[str, Any], instance: int = 0, source: str = "topic") -> None:
        raw = [p if isinstance(p, bytes) else orjson.dumps(p) for p in payloads]
        n = len(raw)
        offsets = list(range(self.offset, self.offset + n))
        self.offset += n
        batch = MicroBatch("requests", source, raw, [instance] * n, offsets, [self.keyed.clock] * n)
        self._take(self.keyed.element(str(instance), encode_micro_batch(batch)))

    def pass_time(self, ms: int) -> None:
        self._take(self.keyed.pass_time(self.keyed.clock + ms))

    def end(self) -> None:
        self._take(self.keyed.advance(END))

    def restart(self) -> None:
        self.keyed.start(self._function())
        self.spec.creator.keyed = self.keyed

    @property
    def state(self) -> list[str]:
        return sorted(name for of in self.keyed.states["open-requests"].values() for name in of)

    def _take(self, sent: list[Any]) -> None:
        for one in sent:
            if not isinstance(one, tuple):
                for message in messages_of(one):
                    assert message.headers == (("data_type", b"estimate"),) and message.key is None
                    # the end of the input waits, and sends meanwhile
                    assert self._since <= (message.event_time or 0) <= self.keyed.clock
                    self.out["done"].append(json.loads(message.value))
                continue
            tag, row = one
            if tag.tag_id == EXPIRED.tag_id:
                for message in messages_of(row):
                    self.out["expired"].append(json.loads(message.value))
                    assert message.key == self.out["expired"][-1]["request"]["id"].encode()
            elif tag.tag_id == DEAD_LETTERS.tag_id:
                self.out["dead"] += [decode(DeadLetter, message.value) for message in messages_of(row)]
            elif tag.tag_id == MADE.tag_id:
                self.out["made"] += features_of(row).rows.to_pylist()
            else:
                assert tag.tag_id == HISTORY.tag_id and row[0] == "houses_v1"
                self.out["history"] += bytes(row[1]).split(b"\n")
        self._since = self.keyed.clock

    def outcomes(self) -> Counter[str]:
        expired = (one["request"]["id"] for one in self.out["expired"])
        return Counter([*(one["id"] for one in self.out["done"]), *expired])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SqlRegistry, Plans]:
    registry = filled_registry(tmp_path_factory.mktemp("registry"))
    views = {view.id: registry.stored(view.id) for view in DECLARED.views}
    return registry, Plans(registry, views, [*views])


@pytest.fixture
def harness(made: tuple[SqlRegistry, Plans]) -> Harness:
    return Harness(*made)


def request(name: str, house: str = "here", **more: Any) -> dict[str, Any]:
    return {"id": name, "model": "estimate", "entities": {"house": house, "district": 1}, **more}


def test_present_ones_leave_at_once_and_keep_nothing(harness: Harness) -> None:
    harness.send(request("a"), request("b"))
    assert [one["id"] for one in harness.out["done"]] == ["a", "b"]
    assert harness.state == [] and not any(harness.keyed._timers[False])


def test_what_is_made_goes_to_both_stores_and_the_request_completes(harness: Harness) -> None:
    harness.send(request("a", "new"), request("b"))
    assert harness.outcomes() == {"b": 1} and harness.state == ["topic/0/0"]
    harness.spec.creator.answer(NOW + 5, "new", price=9.0)
    harness.pass_time(20)
    (done,) = [one for one in harness.out["done"] if one["id"] == "a"]
    assert done["last"] == 9.0 and done["features"][1] == {
        "feature": "houses_v1:price",
        "version": 1,
        "value": 9.0,
        "age_ms": 15,
        "created_on_demand": True,
    }
    times = {"event_timestamp": NOW + 5, "created": NOW + 5}
    assert harness.out["made"] == [{"house": "new", "price": 9.0, **times}]
    assert harness.out["history"] == [b"new\x1f9\x1f1000005\x1f1000005"]
    assert harness.state == []


def test_records_that_are_no_requests_are_dead_letters(harness: Harness) -> None:
    harness.send(b"{", request("a"), b"", {"id": "x"})
    assert harness.outcomes() == {"a": 1}
    assert [(one.code, one.offset) for one in harness.out["dead"]] == [
        ("request", 0),
        ("request", 2),
        ("request", 3),
    ]


def test_a_restart_goes_on_with_what_was_open_and_its_deadline(harness: Harness) -> None:
    harness.send(request("a", "new"), request("b", "newer", expires_ms=5000))
    harness.restart()
    harness.pass_time(600)
    assert {key[1] for key in harness.spec.creator.running} == {("new",), ("newer",)}, "asked again"
    harness.pass_time(600)
    assert harness.outcomes() == {"a": 1} and harness.state == ["topic/0/1"]
    harness.spec.creator.answer(NOW, "newer", price=1.0)
    harness.pass_time(20)
    assert harness.outcomes() == {"a": 1, "b": 1} and harness.state == []


def test_the_first_lines_of_two_files_are_two_requests(harness: Harness) -> None:
    """The second was taken for the first, and nothing became of it."""
    for name, file in (("a", "first.jsonl"), ("b", "second.jsonl")):
        harness.offset = 0
        harness.send(request(name, "new"), source=file)
    assert harness.state == ["first.jsonl/0/0", "second.jsonl/0/0"]
    harness.restart()
    harness.pass_time(1100)
    assert harness.outcomes() == {"a": 1, "b": 1} and harness.state == []


def test_a_request_at_the_bound_of_length_outlives_a_restart(harness: Harness) -> None:
    """With its time it was longer than a request may be, and the job ended, again after each restart."""
    long = request("a", "new")
    long["fields"] = {"x": "y" * (LONGEST - len(orjson.dumps(long | {"fields": {"x": ""}})))}
    assert len(orjson.dumps(long)) == LONGEST
    harness.send(long)
    assert harness.out["dead"] == [] and harness.state == ["topic/0/0"]
    harness.restart()
    harness.pass_time(1100)
    assert harness.outcomes() == {"a": 1} and harness.state == []


def test_the_end_of_the_input_waits_for_deadlines(harness: Harness) -> None:
    harness.send(request("a", "new", expires_ms=3500), request("b"), instance=0)
    harness.send(request("c", "new", expires_ms=900), instance=1)
    harness.end()
    assert harness.outcomes() == {"a": 1, "b": 1, "c": 1}
    assert {one["request"]["id"] for one in harness.out["expired"]} == {"a", "c"}
    assert harness.state == [] and NOW + 3500 <= harness.keyed.clock <= NOW + 6000


steps = st.one_of(
    st.tuples(
        st.just("send"),
        st.integers(0, 2),
        st.lists(
            st.tuples(st.sampled_from(["here", "n1", "n2", "n3"]), st.integers(1, 400), st.booleans()),
            min_size=1,
            max_size=4,
        ),
    ),
    st.tuples(st.just("time"), st.integers(1, 200)),
    st.tuples(st.just("answer"), st.booleans()),
    st.tuples(st.just("away"), st.booleans()),
    st.just(("restart",)),
)


@settings(max_examples=60)
@given(plan=st.lists(steps, max_size=25))
def test_requests_are_completions_and_expirations(made: tuple[SqlRegistry, Plans], plan: list[Any]) -> None:
    harness, sent, broken = Harness(*made), 0, 0
    for step in plan:
        if step[0] == "send":
            payloads: list[Any] = []
            for house, ms, good in step[2]:
                payloads.append(request(str(sent), house, expires_ms=ms) if good else b"[]")
                sent, broken = sent + good, broken + (not good)
            harness.send(*payloads, instance=step[1])
        elif step[0] == "time":
            harness.pass_time(step[1])
        elif step[0] == "answer" and harness.spec.creator.running:
            ((_, (entity,)), *_) = harness.spec.creator.running
            more: dict[str, Any] = {"price": 1.0} if step[1] else {"error": "no"}
            harness.spec.creator.answer(harness.keyed.clock, entity, **more)
        elif step[0] == "away":
            harness.spec.reader.away = step[1]
        elif step[0] == "restart":
            harness.restart()
        assert sum(harness.outcomes().values()) + len(harness.state) == sent, "none between state and output"
    harness.end()
    assert harness.outcomes() == Counter(map(str, range(sent)))
    assert harness.state == [] and len(harness.out["dead"]) == broken
