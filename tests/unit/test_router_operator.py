"""The router's operator with Flink's state and timers in memory: holding back, lanes, slices, restarts."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
from operators.block_row import MODEL_EVENTS, batch_of, row_of
from pyflink.common import Row
from pyflink.datastream import TimeDomain

from operators.ensemble.router import EXPECTATIONS, REQUESTS, RouterOperator
from operators.ensemble.speculation_rows import request_of
from operators.ticks import END_OF_INPUT
from schemas.micro_batch import MicroBatch, encode_micro_batch
from schemas.plans.plan import Plan, write_plan
from schemas.results.answers import Expectation
from schemas.results.records import ModelEvent, decode
from tests import serving_fakes
from udfs.ensemble.routing.router_spec import RouterSpec
from udfs.models.descriptor import DECIDE, build
from udfs.serving.buffering import HoldPolicy


class Store:
    """Keyed state, kept across restarts of the operator, and the context that hands it out."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = defaultdict(dict)
        self.key = ""

    def get_state(self, descriptor: Any) -> State:
        return State(self, descriptor.name)

    get_list_state = get_state

    def get_index_of_this_subtask(self) -> int:
        return 2


class State:
    def __init__(self, store: Store, name: str) -> None:
        self._store, self._of = store, store.states[name]

    def value(self) -> Any:
        return self._of.get(self._store.key)

    get = value

    def update(self, value: Any) -> None:
        self._of[self._store.key] = value

    def add(self, value: Any) -> None:
        self._of.setdefault(self._store.key, []).append(value)

    def clear(self) -> None:
        self._of.pop(self._store.key, None)


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


class Context:
    def __init__(self, key: str, timers: Timers, domain: TimeDomain = TimeDomain.PROCESSING_TIME) -> None:
        self._key, self._timers, self._domain = key, timers, domain

    def get_current_key(self) -> list[str]:
        return [self._key]  # as it comes in thread mode

    def timer_service(self) -> Timers:
        return self._timers

    def time_domain(self) -> TimeDomain:
        return self._domain


class Stand:
    def __init__(self, store: Store | None = None, **more: Any) -> None:
        self.store, self.timers = store or Store(), Timers()
        self.operator = RouterOperator(RouterSpec(main="PMML", **more))
        self.operator.open(self.store)  # type: ignore[arg-type]

    def block(self, n: int, start: int = 0, lane: int = 0) -> list[str]:
        block = serving_fakes.batch_of([b'{"a":%d}' % k for k in range(n)], start=start)
        _, row = row_of("", encode_micro_batch(block))
        return self._said(self.operator.process_element1(row, self._at(lane)))

    def tell(self, lane: int = 0, **more: Any) -> list[str]:
        return self.bytes(build(data_type="t", **more), lane)

    def bytes(self, descriptor: bytes, lane: int = 0) -> list[str]:
        return self._said(self.operator.process_element2(Row(descriptor), self._at(lane)))

    def tick(self, lane: int = 0, domain: TimeDomain = TimeDomain.PROCESSING_TIME) -> list[str]:
        return self._said(self.operator.on_timer(0, self._at(lane, domain)))

    def _at(self, lane: int, domain: TimeDomain = TimeDomain.PROCESSING_TIME) -> Any:
        self.store.key = f"{lane}/t"
        return Context(self.store.key, self.timers, domain)

    def _said(self, sent: Any) -> list[str]:
        said = []
        for one in sent:
            tag, row = one if isinstance(one, tuple) else (None, one)
            if tag is MODEL_EVENTS:
                event = decode(ModelEvent, row[1])
                assert event.subtask == 2
                said.append(f"{event.kind} {event.name}")
            elif tag is EXPECTATIONS:
                expected = decoded(row)
                said.append(f"expect {records(row[1][1])} of {len(expected.asked)}")
                assert row[0] == expected.batch_id
            else:
                request, block = request_of(row[1])
                types = [t for t, known in REQUESTS.items() if known is tag] or ["PMML"]
                who = "".join(a.candidate for a in request.asked)
                said.append(f"{types[0]} {who} {records(block)}")
                assert row[0] == self.store.key
        return said


def decoded(row: Any) -> Expectation:
    return msgspec.msgpack.decode(row[1][0], type=Expectation)


def records(row: Any) -> list[int]:
    block: MicroBatch = batch_of(row)
    return list(block.offsets)


def test_blocks_wait_for_the_first_candidate_and_leave_in_order():
    stand = Stand()
    assert stand.block(1, 10) == stand.block(1, 11) == stand.tick() == []
    said = stand.tell(name="p", model_type="PMML", data=b"1")
    assert said == ["expect [10] of 1", "PMML p [10]", "expect [11] of 1", "PMML p [11]"]
    assert stand.tell(name="s", model_type="TENSORFLOWSAVED", data=b"1") == []
    assert stand.block(1, 12) == ["expect [12] of 2", "PMML p [12]", "TENSORFLOWSAVED s [12]"]
    assert stand.timers.processing == {1_100} and stand.timers.event == {END_OF_INPUT}


def test_blocks_that_waited_too_long_leave_with_nobody_asked():
    stand = Stand(hold=HoldPolicy(records=2))
    assert stand.block(2, 0) == []
    assert stand.block(1, 2) == ["expect [0, 1] of 0", "expect [2] of 0"]
    assert stand.block(1, 3) == stand.tick() == []
    assert stand.tick(domain=TimeDomain.EVENT_TIME) == ["expect [3] of 0"]


def test_long_blocks_leave_in_slices():
    stand = Stand(max_batch=2)
    stand.tell(name="p", model_type="PMML", data=b"1")
    said = stand.block(3, 7)
    assert said == ["expect [7, 8] of 1", "PMML p [7, 8]", "expect [9] of 1", "PMML p [9]"]


def test_the_lane_that_came_first_acts_and_all_keep_the_log():
    stand = Stand()
    plan = write_plan(Plan(deadline_ms=50)).decode()
    assert stand.tell(0, operation=DECIDE, plan=plan) == ["decides plan"]
    assert stand.tell(1, operation=DECIDE, plan=plan) == []
    assert stand.block(1, 5, lane=1) == []
    assert stand.tell(0, name="p", model_type="PMML", data=b"1") == []
    assert stand.tell(1, name="p", model_type="PMML", data=b"1") == ["expect [5] of 1", "PMML p [5]"]
    logs = stand.store.states["candidates"]
    assert set(logs) == {"0/t", "1/t"} and logs["0/t"] == logs["1/t"]


def test_a_restart_goes_on_with_candidates_plan_and_what_waits():
    stand = Stand()
    stand.block(1, 3)
    again = Stand(stand.store)
    said = again.tell(name="p", model_type="PMML", data=b"1")
    assert said == ["expect [3] of 1", "PMML p [3]"]
    third = Stand(stand.store)
    assert third.block(1, 4) == ["expect [4] of 1", "PMML p [4]"]
    assert third.timers.processing and third.timers.event == {END_OF_INPUT}


def test_bytes_that_are_no_descriptor_are_told():
    assert Stand().bytes(b"\xff") == ["refused "]
