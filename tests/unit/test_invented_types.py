"""Data types that records name, and nobody who publishes: they leave nothing behind, whoever invents them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.settings.run import settings_of
from jobs.settings.watch import WatchSettings
from operators.lifecycle.judge_windows import JudgeWindows
from tests.feature_harness import Keyed
from tests.output_batches import messages_of
from tests.unit.test_router_operator import Harness
from tests.unit.test_slow_calls import Instance
from udfs.lifecycle.statistics.table import TableStatistics
from udfs.lifecycle.watching.series import UNTIMED, PartialWindow, Series, write_partial
from udfs.serving.buffering import BufferPolicy

AT_ONCE = BufferPolicy(records=0)
TYPES = 30


def left(instance: Instance) -> dict[str, Any]:
    """What is kept for data types, by its name, where there is any."""
    kept = instance.flink.kept()
    states = {f"state {name}": of for name, of in kept.states.items() if any(map(bool, of.values()))}
    timers = {f"timers {kind}": of for kind, of in kept.timers.items() if of}
    return states | timers


@pytest.mark.parametrize("keyed", [True, False])
def test_what_records_invent_is_forgotten_once_nothing_of_it_waits(keyed: bool) -> None:
    """Each had a timer ten times a second for ever, and its place in memory."""
    instance = Instance(keyed, buffer=AT_ONCE)
    for n in range(TYPES):
        instance.send(f"invented-{n}", n, 1.0)
    assert len(instance.results) == TYPES
    assert all(result.outcome == "no_model" for result in instance.results)
    instance.take(instance.flink.pass_time(instance.flink.clock + 1000))
    assert instance.serving.data_types() == ()
    kept = left(instance)
    assert kept == {} if keyed else {key for _, key in kept["timers False"]} == {instance.key("")}


def test_records_that_wait_for_their_first_model_are_not_forgotten() -> None:
    instance = Instance(True)
    instance.send("t", 0, 1.0)
    for _ in range(3):
        instance.take(instance.flink.pass_time(instance.flink.clock + 1000))
    assert instance.results == [] and left(instance)
    instance.publish("t", 1)
    instance.until(lambda: len(instance.results) == 1)
    assert instance.results[0].outcome == "scored"
    instance.send("t", 1, 1.0)
    instance.until(lambda: len(instance.results) == 2)


def test_a_type_that_was_invented_is_served_as_any_once_a_model_is_published() -> None:
    instance = Instance(True, buffer=AT_ONCE)
    instance.send("t", 0, 1.0)
    instance.take(instance.flink.pass_time(instance.flink.clock + 1000))
    assert left(instance) == {}
    instance.publish("t", 1)
    instance.until(lambda: instance.serving.serves("t"))
    instance.send("t", 1, 1.0)
    instance.until(lambda: len(instance.results) == 2)
    assert [result.outcome for result in instance.results] == ["no_model", "scored"]


def test_the_router_keeps_nothing_of_them_either() -> None:
    harness = Harness(buffer=AT_ONCE)
    assert harness.batch(2, 10) == ["expect [10, 11] of 0"]
    assert harness.operator._router.data_types() == []


@pytest.mark.parametrize("start", [UNTIMED, 0])
def test_a_series_that_results_invent_is_forgotten_once_its_windows_are_told(start: int) -> None:
    judge = Keyed(JudgeWindows(settings_of(WatchSettings, ["--folder.root", "x"]).judging("results")))
    told = []
    for version in range(TYPES):
        table = TableStatistics.counted_in({}, 10)
        table.add([{"a": 1.0}])
        partial = write_partial(PartialWindow(start=start, statistics=table))
        told += judge.element(Series("wine", "m", version).key, (0, partial))
    told += judge.advance(10**9)
    windows = [json.loads(message.value) for packed in told for message in messages_of(packed)]
    assert sorted(one["version"] for one in windows) == list(range(TYPES))
    assert len({one["addition"] for one in windows}) == (TYPES if start == UNTIMED else 1)
    assert not any(map(any, (of.values() for of in judge.kept().states.values())))
    assert judge._function._watched == {}
