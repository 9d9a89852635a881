"""Candidates whose calls or loads do not come back, too often: they leave to what scored before them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.codecs.json_codec import JsonCodec
from schemas.model_pb2 import CandidateLogs
from schemas.results.records import EventKind, ModelEvent
from tests.executor_fakes import Bench, Loader
from udfs.ensemble.execution.executor import Executor
from udfs.ensemble.routing.router import Router
from udfs.models.background_loader import LoadBounds
from udfs.models.descriptor import SERVE, WITHDRAW, Publication, build, parse
from udfs.models.loaded_model import LoadedModel
from udfs.models.quotas import Quotas

WAIT = 30.0


class Hanging(Loader):
    """Loads hang while `hang` is set, until `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.hang = False
        self.go = threading.Event()
        self.came = threading.Event()

    def __call__(self, published: Publication) -> LoadedModel:
        if self.hang:
            assert self.go.wait(WAIT)
        model = super().__call__(published)
        self.came.set()
        return model


@pytest.fixture
def make() -> Iterator:
    benches: list[Bench] = []

    def bench(*args, **more) -> Bench:
        benches.append(Bench(*args, **more))
        return benches[-1]

    yield bench
    for one in benches:
        if isinstance(one.loader, Hanging):
            one.loader.go.set()
        one.close()


def test_a_candidate_given_up_too_often_leaves_to_the_version_before_it(make):
    bench = make(max_abandoned=5, set_aside=2)
    bench.serve("a")
    bench.publish("a", 2)
    bench.until(lambda: "served a 2" in bench.told)
    bench.stick("a")
    bench.hands.now += 600
    bench.answers()
    bench.until(lambda: bench.told.count("served a 2") == 2)
    bench.stick("a")
    bench.hands.now += 600
    bench.answers()
    bench.until(lambda: bench.told[-1] == "served a 1")
    assert "quarantined a 2" in bench.told
    (answer,) = bench.tried("a")
    assert answer.version == 1
    again = make(bench.executor.log("t"))
    assert again.told == ["served a 1"]


def test_a_restore_does_not_wait_for_ever_for_what_scored_before(make):
    bench = make()
    bench.serve("a")
    loader = Hanging()
    loader.hang = True
    started = time.monotonic()
    again = make(bench.executor.log("t"), loader, load_ms=50)
    assert time.monotonic() - started < WAIT and again.told == []
    again.hands.now += 100
    again.until(lambda: again.told == ["refused a 1"])
    loader.hang = False
    again.hands.now += 20_000
    again.until(lambda: "served a 1" in again.told)


def test_one_candidate_more_than_the_quota_is_refused(make):
    bench = make()
    for number in range(33):
        bench.publish(f"c{number}", 1)
    assert bench.told == ["refused c32 1"]
    bench.unpublish("c0")
    bench.publish("c32", 1)
    bench.until(lambda: "served c32 1" in bench.told)


def test_a_name_whose_descriptor_is_too_large_counts_as_it_does_for_the_router(make):
    bench = make()
    large = build(data_type="t", name="large", model_type="PMML", version=1, data=b"x" * (65 << 20))
    bench.tell(bench.executor.publish(large, parse(large)))
    assert bench.told == ["refused large 1"]
    for number in range(32):
        bench.publish(f"c{number}", 1)
    bench.until(lambda: "refused c31 1" in bench.told)


def test_candidates_are_counted_as_the_router_counts_them(make):
    """It hears of all model types, and not of what fails: whom it has no room for, it would ask nothing."""
    bench = make()
    router = Router(JsonCodec(), raw_json=True, max_batch=64, subtask=0)
    router.restore("t", None)

    def publish(name: str, content: bytes = b"x", model_type: str = "PMML") -> None:
        descriptor = build(data_type="t", name=name, model_type=model_type, version=1, data=content)
        router.publish(descriptor, parse(descriptor))
        bench.tell(bench.executor.publish(descriptor, parse(descriptor)))

    for number in range(16):
        publish(f"other{number}", model_type="ONNX")
        publish(f"failed{number}", b"bad")
    bench.until(lambda: len(bench.told) == 16)
    publish("late")
    again = make(bench.executor.log("t"))
    assert again.executor.log("t") == bench.executor.log("t")
    assert bench.told[16:] == ["refused late 1"]
    assert len(router._types["t"].names) == 32 and "late" not in router._types["t"].names
    bench = again
    publish("late")
    assert bench.told == ["refused late 1"]
    for withdrawn in ("other0", ""):
        gone = build(data_type="t", name=withdrawn, operation=WITHDRAW)
        router.publish(gone, parse(gone))
        bench.tell(bench.executor.publish(gone, parse(gone)))
        publish("late")
        bench.until(lambda: bench.told[-1] == "served late 1")
        assert "late" in router._types["t"].names


NAMES = st.sampled_from("ab")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just(SERVE),
            NAMES,
            st.sampled_from(["PMML", "ONNX"]),
            st.sampled_from([0, 1, 2, 3, 9]),
            st.sampled_from([b"bad", b"x", b"y"]),
            st.booleans(),
        ),
        st.tuples(st.just(WITHDRAW), st.sampled_from(["a", "b", ""])),
        st.tuples(st.just("restart")),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
@example([(SERVE, "a", "ONNX", 2, b"x", False), (SERVE, "a", "PMML", 1, b"y", False)])
@example([(SERVE, "a", "ONNX", 2, b"x", False), (SERVE, "a", "PMML", 2, b"x", False)])
@example([(SERVE, "a", "PMML", 2, b"bad", False), (WITHDRAW, "a"), (SERVE, "a", "PMML", 1, b"x", False)])
def test_what_an_executor_holds_is_what_the_router_asks_it_for(steps):
    """Whatever is published in whatever order: a model that is told as serving, and never asked, is a lie."""
    quotas = Quotas(version_jump=5, candidates=1)
    router = Router(JsonCodec(), raw_json=True, max_batch=64, subtask=0, quotas=quotas)
    router.restore("t", None)
    executors = {kind: executor_of(kind, quotas, None) for kind in ("PMML", "ONNX")}
    for step in steps:
        if step[0] == "restart":
            for kind, old in executors.items():
                executors[kind] = executor_of(kind, quotas, old.log("t"))
                old.close()
            continue
        if step[0] == WITHDRAW:
            descriptor = build(data_type="t", name=step[1], operation=WITHDRAW)
        else:
            _, name, kind, version, data, force = step
            descriptor = build(
                data_type="t", name=name, model_type=kind, version=version, data=data, force=force
            )
        published = parse(descriptor)
        router.publish(descriptor, published)
        asked = router._types["t"].types
        for kind, executor in executors.items():
            told = executor.publish(descriptor, published)
            while loading(executor):
                told += executor.poll()
            events = [n for n in told if isinstance(n, ModelEvent)]
            own = {name for name, one in executor._candidates["t"].items() if one.known}
            assert own <= {name for name, of in asked.items() if of == kind}
            assert executor._heard["t"].encoded() == router.log("t")
            if step[0] == SERVE and step[2] == kind:
                assert events, step
            assert all(event.reason for event in events if event.kind == EventKind.REFUSED)
    for executor in executors.values():
        executor.close()


def executor_of(kind: str, quotas: Quotas, stored: bytes | None) -> Executor:
    executor = Executor(kind, Loader(), JsonCodec(), max_batch=64, subtask=0, quotas=quotas)
    executor.restore("t", stored)
    return executor


def loading(executor: Executor) -> bool:
    return any(one.state.loading or one.state.log.pending for one in executor._candidates["t"].values())


def test_the_same_content_under_another_type_is_refused_in_a_sentence(make):
    executor = make().executor
    for model_type in ("ONNX", "PMML"):
        descriptor = build(data_type="t", name="m", model_type=model_type, version=1, data=b"x")
        told = executor.publish(descriptor, parse(descriptor))
    assert [e.kind for e in told] == [EventKind.REFUSED]
    assert "m is served as ONNX, with the same content" in told[0].reason


def test_state_of_the_former_release_knows_its_own_candidates(make):
    bench = make()
    bench.publish("m", 3)
    bench.until(lambda: bench.told == ["served m 3"])
    old = CandidateLogs.FromString(bench.executor.log("t"))
    heard = old.heard.SerializeToString()
    old.ClearField("heard")
    again = make(old.SerializeToString())
    assert CandidateLogs.FromString(again.executor.log("t")).heard.SerializeToString() == heard


def test_types_are_counted_as_the_router_counts_them():
    quotas = Quotas(types=frozenset({"wine"}), new_types=1)
    executor = Executor("PMML", Loader(), JsonCodec(), max_batch=64, subtask=0, quotas=quotas)
    told = []
    for data_type, model_type in (("tea", "ONNX"), ("coffee", "PMML"), ("wine", "PMML")):
        executor.restore(data_type, None)
        descriptor = build(data_type=data_type, name="m", model_type=model_type, version=1, data=b"bad")
        told += executor.publish(descriptor, parse(descriptor))
    executor.close()
    assert [(e.kind, e.data_type, e.step) for e in told] == [(EventKind.REFUSED, "coffee", "quota")]


@pytest.mark.parametrize("again", [False, True], ids=["first load", "load of what scored before"])
def test_closing_ends_while_a_load_hangs_and_its_model_is_closed_when_it_comes(make, again: bool):
    loader = Hanging()
    loader.hang = True
    if again:
        before = make()
        before.serve("a")
        bench = make(before.executor.log("t"), loader, load_ms=50)
    else:
        bench = make(None, loader, bounds=LoadBounds(close_seconds=0.1))
        bench.publish("a", 1)
    closing = threading.Thread(target=bench.executor.close, daemon=True)
    closing.start()
    closing.join(WAIT)
    assert not closing.is_alive()
    loader.go.set()
    assert loader.came.wait(WAIT)
    bench.until_closed()


def test_answers_name_who_signed_the_model(make):
    bench = make()
    bench.publish("a", 1, signer="release")
    bench.publish("b", 1)
    bench.until(lambda: {"served a 1", "served b 1"} <= {*bench.told})
    signers = {answer.candidate: answer.signer for answer in bench.tried("a", "b")}
    assert signers == {"a": "release", "b": msgspec.UNSET}
