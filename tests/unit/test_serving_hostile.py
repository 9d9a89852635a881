"""Models that hang or end what loads them, in a scoring operator: they cost themselves, and nobody waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from schemas.codecs.json_codec import JsonCodec
from schemas.errors import LoadError, ModelError, ProcessEndedError
from schemas.results.records import EventKind, ModelEvent, Outcome
from schemas.results.results import read_result
from schemas.tensors import Columns
from tests.serving_fakes import Doubling, batch_of, loaded_model
from udfs.models.background_loader import LoadBounds
from udfs.models.descriptor import Publication, build, parse
from udfs.models.loaded_model import LoadedModel
from udfs.models.model_log import ModelLog
from udfs.models.quotas import Quotas
from udfs.serving.serving import Serving

WAIT = 30.0
STICKS = 99.0


class Sticking(Doubling):
    """A batch with `STICKS` in it stays in `predict` until it is let go."""

    def __init__(self, add: float = 0.0) -> None:
        super().__init__(add)
        self.go = threading.Event()
        self.inside = 0

    def predict(self, columns: Columns) -> Columns:
        if (columns["x"] == STICKS).any():
            self.inside += 1
            assert self.go.wait(WAIT)
            self.inside -= 1
        return super().predict(columns)

    def close(self) -> None:
        assert not self.inside, "closed while a call was in it"
        super().close()


class Loads:
    """A load by content: `dies` comes to no outcome, `hangs` waits for `let_go`, `bad` is refused."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.runtimes: dict[tuple[str, int], Sticking] = {}
        self.let_go = threading.Event()
        self.heals = 10**9

    def __call__(self, published: Publication) -> LoadedModel:
        self.calls.append((published.name, published.version))
        content = published.data or b""
        if content.startswith(b"dies") and len(self.calls) < self.heals:
            error = ProcessEndedError("the process that ran it is gone: it was ended by SIGSEGV")
            error.step = "load"
            raise error
        if content.startswith(b"hangs"):
            assert self.let_go.wait(WAIT)
        if content.startswith(b"bad"):
            raise LoadError("it cannot be loaded")
        runtime = self.runtimes[published.name, published.version] = Sticking(published.version)
        return loaded_model(runtime, published.name, published.version, published.sha256, published.data_type)


class Harness:
    def __init__(self, stored: bytes | None = None, loads: Loads | None = None, **quotas) -> None:
        self.loads = loads or Loads()
        self.serving = Serving(
            self.loads,
            JsonCodec(),
            raw_json=True,
            max_batch=4,
            subtask=0,
            quotas=Quotas(**({"call_seconds": 0.05} | quotas)),
            bounds=LoadBounds(threads=2, seconds=0.3, close_seconds=0.1),
        )
        self.told: list[ModelEvent] = []
        self.tell(self.serving.restore("t", stored))

    def tell(self, sent) -> list:
        sent = list(sent)
        self.told += [one for one in sent if isinstance(one, ModelEvent)]
        return sent

    def kinds(self) -> list[str]:
        return [f"{event.kind} {event.version}" for event in self.told]

    def publish(self, version: int, content: bytes = b"", data_type: str = "t") -> None:
        data = content or b"content %d" % version
        descriptor = build(data_type=data_type, name="n", version=version, data=data)
        self.tell(self.serving.publish(descriptor, parse(descriptor)))

    def settle(self) -> list[str]:
        self.tell(self.serving.settle())
        return self.kinds()

    def until(self, reached) -> None:
        over = time.monotonic() + WAIT
        while not reached():
            assert time.monotonic() < over, f"waited in vain; told so far: {self.kinds()}"
            self.tell(self.serving.poll())
            time.sleep(0.005)

    def score(self, *numbers: float):
        sent = self.tell(self.serving.score(batch_of([b'{"a":%f}' % n for n in numbers])))
        return [read_result(line) for run in sent if hasattr(run, "lines") for line in run.lines]

    def log(self) -> bytes:
        return self.serving.log("t")


@pytest.fixture
def make() -> Iterator:
    made: list[Harness] = []

    def make_harness(*args, **more) -> Harness:
        made.append(Harness(*args, **more))
        return made[-1]

    yield make_harness
    for one in made:
        one.loads.let_go.set()
        for runtime in one.loads.runtimes.values():
            runtime.go.set()
        one.serving.close()


def test_a_load_without_an_outcome_is_tried_twice_and_then_set_aside(make):
    harness = make()
    harness.publish(1)
    harness.settle()
    harness.publish(2, b"dies")
    assert harness.settle() == ["served 1", "quarantined 2"]
    event = harness.told[-1]
    assert event.step == "load" and "2 attempts" in event.reason and "SIGSEGV" in event.reason
    assert harness.loads.calls == [("n", 1), ("n", 2), ("n", 2)]
    assert [r.version for r in harness.score(1)] == [1]
    again = make(harness.log(), Loads())
    assert again.settle() == ["served 1"]
    assert again.loads.calls == [("n", 1)], "a restart does not try what is in quarantine"


def test_a_second_attempt_that_succeeds_serves(make):
    harness = make()
    harness.loads.heals = 2
    harness.publish(2, b"dies")
    assert harness.settle() == ["served 2"]


def test_what_is_in_quarantine_is_tried_again_when_it_is_published_again(make):
    harness = make()
    harness.publish(2, b"dies")
    assert harness.settle() == ["quarantined 2"]
    harness.loads.heals = 0
    harness.publish(2, b"dies")
    assert harness.settle() == ["quarantined 2", "served 2"]


def test_the_attempt_is_in_the_state_before_it_is_made(make):
    harness = make()
    revision = harness.serving.revision("t")
    harness.publish(2, b"hangs")
    assert harness.serving.revision("t") > revision
    first = make(harness.log(), harness.loads)
    second = make(first.log(), harness.loads)
    assert second.kinds() == ["quarantined 2"] and "ended with the process" in second.told[0].reason
    assert make(second.log(), harness.loads).settle() == []


def test_what_served_and_ends_the_process_that_loads_it_again_makes_way(make):
    harness = make()
    harness.loads.heals = 0
    harness.publish(1)
    harness.settle()
    harness.publish(2, b"dies")
    assert harness.settle() == ["served 1", "served 2"]
    again = make(harness.log())
    assert again.kinds() == ["quarantined 2"] and again.loads.calls[:2] == [("n", 2)] * 2
    said = again.told[0].reason
    assert (
        "2 attempts to load it again" in said and "SIGSEGV" in said and "version 1 of n serves again" in said
    )
    assert again.settle() == ["quarantined 2", "served 1"]
    assert [r.version for r in again.score(1)] == [1]
    third = make(again.log())
    assert third.settle() == ["served 1"] and third.loads.calls == [("n", 1)]


def test_attempts_to_load_again_are_in_the_state_and_end_with_a_success(make):
    harness = make()
    harness.loads.heals = 0
    harness.publish(2, b"dies")
    harness.settle()
    log = ModelLog.decode(harness.log())
    assert log.served is not None and log.begun(log.served) == 1
    again = make(log.encoded())
    assert again.loads.calls == [("n", 2)] and again.kinds() == ["quarantined 2"]
    loads = Loads()
    loads.heals = 0
    well = ModelLog.decode(make(log.encoded(), loads).log())
    assert well.served is not None and well.attempts(well.served) == 0


def test_a_load_that_hangs_is_given_up_and_holds_up_no_other_type(make):
    harness = make()
    harness.serving.restore("u", None)
    harness.publish(1, b"hangs")
    harness.publish(1, data_type="u")
    harness.until(lambda: harness.serving.serves("u"))
    harness.until(lambda: "quarantined 1" in harness.kinds())
    event = next(e for e in harness.told if e.kind is EventKind.QUARANTINED)
    assert "did not come to an end within 0.3 s" in event.reason
    of_other = harness.loads.runtimes["n", 1]
    harness.loads.let_go.set()
    harness.until(lambda: harness.loads.runtimes["n", 1] is not of_other)
    harness.until(lambda: harness.loads.runtimes["n", 1].closed == 1)
    assert not harness.serving.serves("t")


def test_neither_closing_nor_restoring_waits_for_ever(make):
    harness = make()
    harness.publish(1, b"hangs")
    log = harness.log()
    done = threading.Event()

    def close_and_restore() -> None:
        harness.serving.close()
        make(log, harness.loads)
        done.set()

    threading.Thread(target=close_and_restore, daemon=True).start()
    assert done.wait(WAIT)
    served = make()
    served.publish(1, b"hangs")
    served.loads.let_go.set()
    served.settle()
    served.loads.let_go.clear()
    with pytest.raises(ModelError, match="did not come to an end"):
        make(served.log(), served.loads)


def test_a_call_that_hangs_fails_its_records_only(make):
    harness = make(unresponsive=10)
    harness.publish(1)
    harness.settle()
    results = harness.score(1, STICKS, 3, 4, 5)
    assert [r.outcome for r in results[:4]] == [Outcome.FAILED] * 4
    assert "did not come back within 0.05 s" in results[0].reason
    assert results[4].outcome == Outcome.FAILED and "has still not come back" in results[4].reason
    harness.loads.runtimes["n", 1].go.set()
    harness.until(lambda: not harness.loads.runtimes["n", 1].inside)
    assert [r.outcome for r in harness.score(1)] == [Outcome.SCORED]


def test_a_model_that_hangs_too_often_leaves_to_the_one_before_it(make):
    harness = make()
    harness.publish(1)
    harness.settle()
    harness.publish(2)
    harness.settle()
    stuck = harness.loads.runtimes["n", 2]
    results = harness.score(STICKS, 2, 3, 4, 5, 6, 7, 8, 9)
    assert {r.outcome for r in results} == {Outcome.FAILED} and {r.version for r in results} == {2}
    assert len(results) == 9
    assert harness.kinds() == ["served 1", "served 2", "quarantined 2"]
    assert "version 1 of n serves again" in harness.told[-1].reason
    assert harness.settle()[-1] == "served 1"
    assert [(r.version, r.outcome) for r in harness.score(1)] == [(1, Outcome.SCORED)]
    assert stuck.closed == 0
    stuck.go.set()
    harness.until(lambda: stuck.closed == 1)
    assert make(harness.log(), Loads()).settle() == ["served 1"]


def test_a_first_model_that_hangs_leaves_nothing_to_serve(make):
    harness = make()
    harness.publish(1)
    harness.settle()
    harness.score(STICKS, 1, 2, 3, 4)
    assert harness.kinds() == ["served 1", "quarantined 1"]
    assert not harness.serving.serves("t")


def test_models_of_types_that_no_setting_names_are_taken_up_to_a_number(make):
    harness = make(types=frozenset({"t"}), new_types=1)
    for data_type in ("u", "v"):
        harness.serving.restore(data_type, None)
    harness.publish(1, data_type="u")
    harness.publish(1, data_type="v")
    harness.publish(2, data_type="u")
    harness.publish(1)
    harness.settle()
    assert [e.data_type for e in harness.told if e.step == "quota"] == ["v"]
    assert [harness.serving.serves(t) for t in "tuv"] == [True, True, False]


def test_quotas_of_types_and_of_what_waits(make):
    harness = make(types=frozenset({"t"}), pending=2, pending_bytes=400)
    harness.serving.restore("strange", None)
    before = harness.serving.log("strange")
    harness.publish(1, data_type="strange")
    assert "no setting names the data type 'strange'" in harness.told[-1].reason
    assert harness.told[-1].step == "quota" and harness.serving.log("strange") == before
    harness.publish(1, b"hangs")
    harness.publish(2, b"b" * 10)
    harness.publish(3, b"c")
    assert "2 publications wait" in harness.told[-1].reason
    harness.loads.let_go.set()
    harness.settle()
    harness.publish(4, b"d" * 500)
    assert "bytes" in harness.told[-1].reason and harness.told[-1].kind is EventKind.REFUSED
