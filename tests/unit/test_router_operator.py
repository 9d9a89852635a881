"""The router's operator with Flink's state and timers in memory: buffering, key groups, slices, restarts."""

from __future__ import annotations

from typing import Any

import msgspec
from pyflink.datastream import TimeDomain

from operators.ensemble.router import DECISION_CONTEXTS, REQUESTS, RouterOperator
from operators.ensemble.speculation_rows import context_of, request_of
from operators.rows import MODEL_EVENTS
from operators.timers import END_OF_INPUT
from schemas.micro_batch import decode_micro_batch, encode_micro_batch
from schemas.plans.plan import Plan, write_plan
from schemas.results.answers import DecisionContext
from schemas.results.records import ModelEvent, decode
from tests.flink_fakes import FOUR_GROUPS, KeyedContext
from tests.output_batches import messages_of
from tests.serving_fakes import batch_of
from udfs.ensemble.routing.router_spec import RouterSpec
from udfs.models.descriptor import DECIDE, build
from udfs.serving.buffering import BufferPolicy


class Timers:
    def __init__(self) -> None:
        self.processing: set[int] = set()
        self.event: set[int] = set()

    def current_processing_time(self) -> int:
        return 1_050

    def register_processing_time_timer(self, at: int) -> None:
        self.processing.add(at)

    def register_event_time_timer(self, at: int) -> None:
        self.event.add(at)

    def delete_processing_time_timer(self, at: int) -> None:
        self.processing.discard(at)

    def delete_event_time_timer(self, at: int) -> None:
        self.event.discard(at)


class Context:
    def __init__(self, key: str, timers: Timers, domain: TimeDomain = TimeDomain.PROCESSING_TIME) -> None:
        self._key, self._timers, self._domain = key, timers, domain

    def get_current_key(self) -> list[str]:
        return [self._key]  # as it comes in thread mode

    def timer_service(self) -> Timers:
        return self._timers

    def time_domain(self) -> TimeDomain:
        return self._domain


class Harness:
    """Instance `index` of `parallelism`, under the key of its first key group; `states`: of a savepoint."""

    def __init__(
        self,
        states: dict[str, dict[str, Any]] | None = None,
        *,
        index: int = 1,
        parallelism: int = 2,
        **more: Any,
    ) -> None:
        self.store, self.timers, self.index = KeyedContext(states, index, parallelism), Timers(), index
        self.key = FOUR_GROUPS.keys_of_instance(index, parallelism)[0]
        self.operator = RouterOperator(RouterSpec(main="PMML", **more), FOUR_GROUPS)
        self.operator.open(self.store)  # type: ignore[arg-type]

    def batch(self, n: int, start: int = 0) -> list[str]:
        packed = encode_micro_batch(batch_of([b'{"a":%d}' % k for k in range(n)], start=start))
        return self._said(self.operator.process_element1(packed, self._at()))

    def tell(self, **more: Any) -> list[str]:
        return self.bytes(build(data_type="t", **more))

    def bytes(self, descriptor: bytes) -> list[str]:
        return self._said(self.operator.process_element2(descriptor, self._at()))

    def on_timer(self, domain: TimeDomain = TimeDomain.PROCESSING_TIME, key: str = "") -> list[str]:
        return self._said(self.operator.on_timer(0, self._at(domain, key)), key)

    def _at(self, domain: TimeDomain = TimeDomain.PROCESSING_TIME, key: str = "") -> Any:
        self.store.key = key or self.key
        return Context(self.store.key, self.timers, domain)

    def _said(self, sent: Any, key: str = "") -> list[str]:
        said = []
        for one in sent:
            tag, row = one if isinstance(one, tuple) else (None, one)
            if tag is MODEL_EVENTS:
                for message in messages_of(row):
                    event = decode(ModelEvent, message.value)
                    assert event.subtask == self.index
                    said.append(f"{event.kind} {event.name}")
                continue
            assert row[0] == (key or self.key), "what is asked and what is expected meet under one key"
            if tag is DECISION_CONTEXTS:
                packed, batch = context_of(row[1])
                expected = msgspec.msgpack.decode(packed, type=DecisionContext)
                said.append(f"expect {records(batch)} of {len(expected.asked)}")
                self.expected = expected.batch_id
            else:
                request, batch = request_of(row[1])
                types = [t for t, known in REQUESTS.items() if known is tag] or ["PMML"]
                who = "".join(a.candidate for a in request.asked)
                said.append(f"{types[0]} {who} {records(batch)}")
                assert request.batch_id == self.expected
        assert self.store.key == (key or self.key), "the key is left as Flink has set it"
        return said


def records(packed: bytes) -> list[int]:
    return list(decode_micro_batch(packed).offsets)


def test_micro_batches_wait_for_the_first_candidate_and_leave_in_order():
    harness = Harness()
    assert harness.batch(1, 10) == harness.batch(1, 11) == harness.on_timer() == []
    said = harness.tell(name="p", model_type="PMML", data=b"1")
    assert said == ["expect [10] of 1", "PMML p [10]", "expect [11] of 1", "PMML p [11]"]
    assert harness.tell(name="s", model_type="TENSORFLOWSAVED", data=b"1") == []
    assert harness.batch(1, 12) == ["expect [12] of 2", "PMML p [12]", "TENSORFLOWSAVED s [12]"]
    assert harness.timers.processing == {1_100} and harness.timers.event == {END_OF_INPUT}


def test_micro_batches_that_waited_too_long_leave_with_nobody_asked():
    harness = Harness(buffer=BufferPolicy(records=2))
    assert harness.batch(2, 0) == []
    assert harness.batch(1, 2) == ["expect [0, 1] of 0", "expect [2] of 0"]
    assert harness.batch(1, 3) == harness.on_timer() == []
    assert harness.on_timer(domain=TimeDomain.EVENT_TIME) == ["expect [3] of 0"]


def test_micro_batches_of_too_many_bytes_leave_with_nobody_asked():
    size = len(encode_micro_batch(batch_of([b'{"a":0}'])))
    harness = Harness(buffer=BufferPolicy(bytes=2 * size))
    assert harness.batch(1, 0) == harness.batch(1, 1) == []
    assert harness.batch(1, 2) == [f"expect [{n}] of 0" for n in range(3)]
    assert not any(harness.store.states["buffered"].values()), "nothing is left in state"


def test_long_micro_batches_leave_in_slices():
    harness = Harness(max_batch=2)
    harness.tell(name="p", model_type="PMML", data=b"1")
    said = harness.batch(3, 7)
    assert said == ["expect [7, 8] of 1", "PMML p [7, 8]", "expect [9] of 1", "PMML p [9]"]


def test_the_log_lies_under_the_key_of_each_key_group_of_the_instance():
    harness = Harness()
    plan = write_plan(Plan(deadline_ms=50)).decode()
    assert harness.tell(operation=DECIDE, plan=plan) == ["decides plan"]
    assert harness.tell(name="p", model_type="PMML", data=b"1") == []
    logs = harness.store.states["candidates"]
    assert set(logs) == {"2", "3"} and logs["2"] == logs["3"] != {}
    harness.store.updates.clear()
    assert harness.batch(1, 5) == ["expect [5] of 1", "PMML p [5]"]
    assert harness.store.updates == [], "what has not changed is not written"


def test_a_restart_goes_on_with_candidates_plan_and_what_waits():
    harness = Harness()
    harness.batch(1, 3)
    again = Harness(harness.store.states)
    said = again.tell(name="p", model_type="PMML", data=b"1")
    assert said == ["expect [3] of 1", "PMML p [3]"]
    third = Harness(again.store.states)
    assert third.batch(1, 4) == ["expect [4] of 1", "PMML p [4]"]
    assert third.timers.processing and third.timers.event == {END_OF_INPUT}


def test_another_parallelism_finds_candidates_and_what_waits():
    first = Harness()
    first.tell(name="p", model_type="PMML", data=b"1")
    for index in (2, 3):  # the instances that own its key groups now
        again = Harness(first.store.states, index=index, parallelism=4)
        assert again.batch(1, 4) == ["expect [4] of 1", "PMML p [4]"]
    waiting = Harness(index=2, parallelism=4)
    waiting.batch(1, 6)
    alone = Harness(waiting.store.states, index=0, parallelism=1)
    assert alone.tell(name="p", model_type="PMML", data=b"1") == []
    assert alone.on_timer(key="2") == ["expect [6] of 1", "PMML p [6]"], "under the key with which it came"
    assert alone.on_timer(key="2") == alone.on_timer() == []


def test_bytes_that_are_no_descriptor_are_told_by_one_of_the_instances():
    assert Harness(index=0).bytes(b"\xff") == ["refused "]
    assert Harness(index=1).bytes(b"\xff") == []
