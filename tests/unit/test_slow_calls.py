"""A model that hangs holds up its own data type: the others go on, and what waits is in state, in order."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from operators.rows import DEAD_LETTERS, MODEL_EVENTS
from operators.serving.scorer import Scorer
from schemas.codecs.factory import CodecSpec
from schemas.codecs.json_codec import JsonCodec
from schemas.micro_batch import decode_micro_batch, encode_micro_batch
from schemas.plans.plan import Only, Plan, write_plan
from schemas.results.records import ModelEvent, decode
from schemas.results.results import read_result
from tests.feature_harness import END, GROUPS, Kept, Keyed, given_out
from tests.output_batches import messages_of
from tests.serving_fakes import STICKS, Doubling, Loads, batch_of, loaded_model
from udfs.ensemble.routing.arms import LEAD_MS, Sharing
from udfs.models.descriptor import DECIDE, WITHDRAW, build
from udfs.models.quotas import Quotas
from udfs.serving import run as run_module
from udfs.serving.buffering import BufferPolicy
from udfs.serving.serving import Serving
from udfs.serving.timed_calls import TimedCalls, TimedModel

WAIT = 30.0
MAX_BATCH = 4


class Instance:
    """One instance of the operator: `keyed` by data type, or by instance."""

    def __init__(
        self,
        keyed: bool,
        kept: Kept | None = None,
        index: int = 0,
        parallelism: int = 1,
        *,
        buffer: BufferPolicy | None = None,
        sharing: Mapping[str, Sharing] | None = None,
        **quotas: Any,
    ) -> None:
        self.sticks = threading.Event()
        self.loads = Loads(self.sticks)
        more = {"call_seconds": WAIT, "patience_ms": 5} | quotas
        self.quotas = Quotas(**more)
        self.serving = Serving(
            self.loads, JsonCodec(), raw_json=True, max_batch=MAX_BATCH, subtask=index, quotas=self.quotas
        )
        spec: Any = SimpleNamespace(
            serving=lambda subtask, restarted: self.serving,
            codec=CodecSpec(),
            quotas=self.quotas,
            buffer=buffer or BufferPolicy(),
            max_batch=MAX_BATCH,
            timer_ms=100,
            stats_ms=1000,
        )
        self._keyed = keyed
        self._own = GROUPS.keys_of_instance(index, parallelism)[0]
        self.flink = Keyed(Scorer(spec, None if keyed else GROUPS, sharing), kept, index, parallelism)
        self.flink.clock = 1000
        self.results: list[Any] = []
        self.dead = 0
        self.told: list[str] = []

    def key(self, data_type: str) -> str:
        return data_type if self._keyed else self._own

    def take(self, sent: list[Any]) -> None:
        for one in sent:
            tag, row = one if isinstance(one, tuple) else (None, one)
            if tag is None:
                self.results += [read_result(message.value) for message in messages_of(row)]
            elif tag is DEAD_LETTERS:
                self.dead += 1
            elif tag is MODEL_EVENTS:
                events = [decode(ModelEvent, message.value) for message in messages_of(row)]
                self.told += [f"{event.kind} {event.data_type} {event.version}" for event in events]

    def send(self, data_type: str, start: int, *numbers: float) -> None:
        batch = batch_of([b'{"a":%f}' % n for n in numbers], data_type, start)
        self.take(self.flink.element(self.key(data_type), encode_micro_batch(batch), input=1))

    def publish(self, data_type: str, version: int, content: bytes = b"ok") -> None:
        descriptor = build(
            data_type=data_type, name=data_type, version=version, data=content + b"%d" % version
        )
        self.take(self.flink.element(self.key(data_type), descriptor, input=2))

    def divide(self) -> None:
        """A plan comes for t, which divides records from LEAD_MS after the first millisecond on."""
        plan = write_plan(Plan(route=Only(("t",)))).decode()
        decides = build(data_type="t", name="plan", version=1, created_ms=1, operation=DECIDE, plan=plan)
        self.take(self.flink.element(self.key("t"), decides, input=2))

    def until(self, reached: Callable[[], bool]) -> None:
        """Time passes, and the operator looks up from its records."""
        over = time.monotonic() + WAIT
        while not reached():
            assert time.monotonic() < over, f"waited in vain; told: {self.told}, {self.offsets('t')}"
            self.look()
            threading.Event().wait(0.002)

    def let_go(self) -> None:
        """What sticks goes on; return when t's call has come back, before the operator looks for it."""
        self.sticks.set()
        while self.serving.waits("t"):  # a call is given up after WAIT
            threading.Event().wait(0.001)

    def look(self) -> None:
        self.take(self.flink.pass_time(self.flink.clock + 10))

    def serve(self, *data_types: str) -> None:
        for data_type in data_types:
            self.publish(data_type, 1)
        self.until(lambda: all(map(self.serving.serves, data_types)))

    def end(self) -> None:
        self.take(self.flink.advance(END))

    def offsets(self, data_type: str) -> list[int]:
        return [result.offset for result in self.results if result.data_type == data_type]

    def waiting(self) -> list[int]:
        """Offsets of t."""
        kept = [packed for of in self.flink.states["buffered"].values() for packed in of.values()]
        batches = [decode_micro_batch(packed) for packed in kept]
        return sorted(offset for one in batches if one.data_type == "t" for offset in one.offsets)

    def model(self, data_type: str, version: int = 1) -> Doubling:
        return self.loads.runtimes[data_type, version]

    def close(self) -> None:
        self.sticks.set()
        self.serving.close()


@pytest.fixture
def make() -> Iterator[Callable[..., Instance]]:
    made: list[Instance] = []

    def instance(*args: Any, **more: Any) -> Instance:
        made.append(Instance(*args, **more))
        return made[-1]

    yield instance
    for one in made:
        one.close()


def hanging(make: Callable[..., Instance], keyed: bool) -> Instance:
    """With a call of t under way, and two micro-batches behind it."""
    job = make(keyed)
    job.serve("t", "u")
    job.send("t", 0, 1.0, STICKS)
    job.send("t", 2, 2.0)
    job.send("t", 3, 3.0, 4.0)
    assert job.serving.waits("t") and job.offsets("t") == [] and job.waiting() == [0, 1, 2, 3, 4]
    return job


KEYED = pytest.mark.parametrize("keyed", [True, False])
UNDIVIDED = {"t": Sharing("t", undivided=True)}


@KEYED
def test_other_data_types_go_on_while_a_call_hangs(make: Any, keyed: bool) -> None:
    job = hanging(make, keyed)
    for n in range(3):
        job.send("u", n, float(n))
    job.until(lambda: len(job.offsets("u")) == 3)
    assert job.offsets("u") == [0, 1, 2] and job.serving.waits("t")
    job.sticks.set()
    job.until(lambda: len(job.offsets("t")) == 5)
    assert job.offsets("t") == [0, 1, 2, 3, 4] and job.waiting() == []
    assert [r.scores["y"] for r in job.results if r.data_type == "t"] == [3.0, 39.0, 5.0, 7.0, 9.0]
    assert job.model("t").batches == [2, 3], "what waited behind it goes in one call"
    job.send("t", 5, 5.0)
    job.until(lambda: job.offsets("t")[5:] == [5])


@KEYED
def test_who_looks_again_is_a_timer_of_its_own(make: Any, keyed: bool) -> None:
    job = hanging(make, keyed)
    job.let_go()
    job.look()
    assert job.offsets("t")[:2] == [0, 1], "ten milliseconds later, and not at the next of 100"


@KEYED
def test_what_is_left_twice_comes_out_once(make: Any, keyed: bool) -> None:
    job = make(keyed)
    job.serve("t")
    job.send("t", 0, STICKS, 1.0, 2.0, 3.0, STICKS, 5.0)
    job.send("t", 6, 6.0)
    job.let_go()
    job.sticks.clear()
    job.look()
    assert job.offsets("t") == [0, 1, 2, 3] and job.serving.waits("t"), "the second slice hangs as well"
    assert job.waiting() == [4, 5, 6], "what is not out is in state, again"
    job.sticks.set()
    job.until(lambda: job.waiting() == [])
    assert job.offsets("t") == [0, 1, 2, 3, 4, 5, 6]


@KEYED
def test_what_waits_is_in_the_savepoint_and_scored_after_it(make: Any, keyed: bool) -> None:
    kept = hanging(make, keyed).flink.kept()
    again = make(keyed, kept=kept)
    again.sticks.set()
    again.until(lambda: again.waiting() == [])
    assert again.offsets("t") == [0, 1, 2, 3, 4]
    assert {r.outcome for r in again.results} == {"scored"}


def test_what_waits_is_scored_at_another_parallelism(make: Any) -> None:
    """Two instances with a call under way each become one, which works under the key of the first: what lies
    under the other key is scored, and the call that is under way here does not lose its records."""
    saved = []
    for index in range(2):
        job = make(False, index=index, parallelism=2)
        job.serve("t")
        job.send("t", 100 * index, STICKS)
        job.send("t", 100 * index + 1, 1.0)
        assert job.serving.waits("t")
        saved.append(job.flink.kept())
    (kept,) = given_out(saved, 1)
    one = make(False, kept=kept)
    one.sticks.set()
    one.until(lambda: one.serving.serves("t"))
    one.sticks.clear()
    one.send("t", 200, STICKS)
    one.send("t", 201, 1.0)
    one.sticks.set()
    one.until(lambda: one.waiting() == [])
    assert Counter(one.offsets("t")) == Counter([0, 1, 100, 101, 200, 201])


def test_what_another_parallelism_left_goes_together_behind_a_call(make: Any) -> None:
    saved = []
    for index in range(2):
        job = make(False, index=index, parallelism=2)
        job.serve("t")
        for n, number in enumerate([STICKS, 1.0, 2.0, 3.0]):
            job.send("t", 100 * index + n, number)
        saved.append(job.flink.kept())
    (kept,) = given_out(saved, 1)
    first, second = (GROUPS.keys_of_instance(index, 2)[0] for index in range(2))
    kept.timers[False] = {(1010, second), (1020, first)}
    one = make(False, kept=kept)
    one.look()
    assert one.serving.waits("t") and one.offsets("t") == []
    one.sticks.set()
    one.look()
    assert one.offsets("t")[:4] == [0, 1, 2, 3]
    assert one.model("t").batches[:2] == [1, 4], "the call of the second key, then all of the first"
    one.until(lambda: one.waiting() == [])
    assert one.offsets("t")[4:] == [100, 101, 102, 103]


def test_two_keys_with_a_call_each_take_turns(make: Any) -> None:
    saved = []
    for index in range(2):
        job = make(False, index=index, parallelism=2)
        job.serve("t")
        job.send("t", 100 * index, STICKS)
        saved.append(job.flink.kept())
    (kept,) = given_out(saved, 1)
    one = make(False, kept=kept, call_seconds=0.1, unresponsive=100)
    one.until(lambda: one.waiting() == [])
    assert Counter(one.offsets("t")) == Counter([0, 100])
    assert {r.outcome for r in one.results} == {"failed"}, "nothing lets go what hangs"


@KEYED
def test_the_end_of_the_input_waits_for_all(make: Any, keyed: bool) -> None:
    job = make(keyed, call_seconds=0.3)
    job.serve("t")
    for start in (0, 2):
        job.send("t", start, 1.0, STICKS)
    job.send("t", 4, 3.0)
    job.end()
    assert job.offsets("t") == [0, 1, 2, 3, 4] and job.waiting() == []
    assert [r.outcome for r in job.results] == ["failed"] * 5
    assert "did not come back within 0.3 s" in job.results[0].reason
    assert "has still not come back" in job.results[2].reason


@KEYED
def test_arms_behind_one_whose_call_hangs_wait_behind_it(make: Any, keyed: bool) -> None:
    job = make(keyed, sharing=UNDIVIDED)
    job.serve("t")
    job.divide()
    rows = [b'{"a":%f}' % STICKS, b'{"a":1}', b'{"a":2}']
    batch = batch_of(rows, "t", event_times=[5, 2 * LEAD_MS, 2 * LEAD_MS])
    job.take(job.flink.element(job.key("t"), encode_micro_batch(batch), input=1))
    assert job.serving.waits("t") and job.waiting() == [0, 1, 2] and job.offsets("t") == []
    job.sticks.set()
    job.until(lambda: job.waiting() == [])
    assert job.offsets("t") == [0, 1, 2]


@KEYED
def test_arms_behind_a_model_that_is_set_aside_at_the_end_have_the_one_before_it(
    make: Any, keyed: bool
) -> None:
    job = make(keyed, sharing=UNDIVIDED, call_seconds=0.3, unresponsive=2)
    job.serve("t")
    job.publish("t", 2)
    job.until(lambda: "served t 2" in job.told)
    job.divide()
    job.send("t", 0, STICKS)
    batch = batch_of([b'{"a":1}', b'{"a":2}'], start=1, event_times=[5, 2 * LEAD_MS])
    job.take(job.flink.element(job.key("t"), encode_micro_batch(batch), input=1))
    job.end()
    found = [(r.offset, r.version, r.outcome) for r in job.results]
    assert found == [(0, 2, "failed"), (1, 2, "failed"), (2, 1, "scored")]


@KEYED
def test_it_is_unpublished_after_as_many_calls_as_ever(make: Any, keyed: bool) -> None:
    job = make(keyed, call_seconds=0.3, unresponsive=2)
    job.serve("t", "u")
    job.publish("t", 2)
    job.until(lambda: "served t 2" in job.told)
    job.send("t", 0, STICKS)
    for n in range(1, 8):
        job.send("t", n, float(n))
    job.send("u", 0, 1.0)
    job.until(lambda: job.offsets("u") == [0] and len(job.offsets("t")) == 8)
    assert job.offsets("t") == list(range(8))
    found = [(r.version, r.outcome) for r in job.results if r.data_type == "t"]
    failed = found.count((2, "failed"))
    assert found == [(2, "failed")] * failed + [(1, "scored")] * (8 - failed)
    assert 2 <= failed <= 1 + MAX_BATCH, "the call that hung, and the one that was not made"
    assert job.told[-2:] == ["quarantined t 2", "served t 1"]
    assert job.model("t", 2).batches == [1]


@KEYED
def test_a_full_buffer_waits_for_the_call(make: Any, keyed: bool) -> None:
    job = make(keyed, buffer=BufferPolicy(records=8))
    job.serve("t")
    job.send("t", 0, STICKS)
    for n in range(1, 4):
        job.send("t", n, float(n))
    assert job.waiting() == [0, 1, 2, 3] and job.serving.waits("t"), "half of the bounds"
    sender = threading.Thread(target=job.send, args=("t", 4, 4.0))
    sender.start()
    over = time.monotonic() + WAIT
    while "t/4" not in job.flink.states["buffered"][job.key("t")]:
        assert time.monotonic() < over
        threading.Event().wait(0.001)
    job.sticks.set()
    sender.join(WAIT)
    assert not sender.is_alive()
    assert job.offsets("t")[:1] == [0] and len(job.waiting()) <= 4, "it has waited for the call"
    job.until(lambda: job.waiting() == [])
    assert job.offsets("t") == [0, 1, 2, 3, 4] and {r.outcome for r in job.results} == {"scored"}


@KEYED
def test_a_model_that_is_replaced_in_a_call_leaves_its_records_to_the_next(make: Any, keyed: bool) -> None:
    job = hanging(make, keyed)
    stuck = job.model("t")
    job.loads.sticks = None
    job.publish("t", 2)
    job.until(lambda: "served t 2" in job.told)
    job.until(lambda: job.waiting() == [])
    assert job.offsets("t") == [0, 1, 2, 3, 4] and {r.version for r in job.results} == {2}
    assert stuck.closed == 0, "a call is in it"
    job.sticks.set()
    job.until(lambda: stuck.closed == 1)


@KEYED
def test_records_whose_model_is_withdrawn_in_a_call_wait_for_another(make: Any, keyed: bool) -> None:
    job = hanging(make, keyed)
    job.take(job.flink.element(job.key("t"), build(data_type="t", operation=WITHDRAW), input=2))
    job.look()
    job.send("u", 0, 1.0)
    assert job.waiting() == [0, 1, 2, 3, 4] and job.offsets("t") == []
    job.sticks.set()
    job.publish("t", 2)
    job.until(lambda: job.waiting() == [])
    assert job.offsets("t") == [0, 1, 2, 3, 4] and {r.version for r in job.results if r.data_type == "t"} == {
        2
    }


@KEYED
def test_the_thread_of_a_call_whose_model_is_withdrawn_ends_with_the_call(make: Any, keyed: bool) -> None:
    job = make(keyed)
    job.serve("t")
    threads: list[threading.Thread] = []
    runtime, predict = job.model("t"), job.model("t").predict
    runtime.predict = lambda columns: (threads.append(threading.current_thread()), predict(columns))[1]
    job.send("t", 0, STICKS)
    job.until(lambda: bool(threads))
    job.take(job.flink.element(job.key("t"), build(data_type="t", operation=WITHDRAW), input=2))
    assert not job.serving.under_way("t") and job.waiting() == [0]
    job.sticks.set()
    threads[0].join(WAIT)
    assert not threads[0].is_alive() and runtime.closed == 1


@KEYED
def test_bad_records_in_a_slow_call_come_out_once(make: Any, keyed: bool) -> None:
    job = make(keyed)
    job.serve("t")
    job.send("t", 0, 1.0, STICKS, 13.0, 2.0, 5.0, 6.0)  # 13 is POISON: the call fails and is halved
    assert job.serving.waits("t")
    job.sticks.set()
    job.until(lambda: job.waiting() == [])
    assert job.offsets("t") == list(range(6)) and job.dead == 0
    assert [r.outcome for r in job.results] == ["scored", "scored", "failed", "scored", "scored", "scored"]


def test_calls_that_come_back_need_one_thread(make: Any) -> None:
    job = make(False, patience_ms=WAIT * 1000)
    job.serve("t", "u")
    threads = set()
    for data_type in ("t", "u"):
        runtime, predict = job.model(data_type), job.model(data_type).predict
        runtime.predict = lambda columns, predict=predict: (
            threads.add(threading.get_ident()),
            predict(columns),
        )[1]
    for n in range(5):
        job.send("t", n, 1.0)
        job.send("u", n, 1.0)
    assert job.offsets("t") == job.offsets("u") == [0, 1, 2, 3, 4]
    assert len(threads) == 1 and job.flink.states["buffered"].get(job.key("t"), {}) == {}


def test_a_call_that_came_back_leaves_its_columns() -> None:
    calls = TimedCalls(WAIT)
    model = TimedModel(loaded_model(Doubling()), calls, 2)
    columns = {"x": np.ones(3)}
    kept = weakref.ref(columns["x"])
    assert model.predict(columns)["y"].tolist() == [2.0] * 3
    del columns
    over = time.monotonic() + WAIT
    while kept() is not None:  # the thread lets go a moment after it has answered
        assert time.monotonic() < over, "they stay until the next call"
        threading.Event().wait(0.001)
    calls.close()


def test_a_result_does_not_count_the_time_in_which_nobody_looked(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = hanging(make, keyed=False)
    job.let_go()
    really = time.perf_counter
    monkeypatch.setattr(run_module.time, "perf_counter", lambda: really() + 1000)
    job.until(lambda: job.waiting() == [])
    assert all(0 < r.ms < 1_000_000 for r in job.results if r.data_type == "t")
