"""Data types of which nothing is left but which versions were seen: a bounded number of them is known,
without timers, and who goes on is not touched."""

from __future__ import annotations

import pytest

from operators.type_logs import IDLE_KEPT
from schemas.plans.plan import Plan, write_plan
from schemas.results.answers import AnswerOutcome
from tests.executor_fakes import STICKS, WAIT, Bench, Sticking
from tests.feature_harness import Kept, Keyed, given_out
from tests.unit.test_executor_operator import Flink
from tests.unit.test_invented_types import left
from tests.unit.test_router_operator import Harness
from tests.unit.test_slow_calls import Instance
from udfs.models.descriptor import DECIDE, WITHDRAW, build
from udfs.models.quotas import Quotas
from udfs.serving.buffering import BufferPolicy

MANY = IDLE_KEPT + 50
LONG = BufferPolicy(seconds=1e6)


def again(instance: Instance, keyed: bool) -> Instance:
    return Instance(keyed, instance.flink.kept(), buffer=LONG)


def scored(instance: Instance, *offsets: int) -> None:
    """Wait until these are, and nothing else came out."""
    instance.until(lambda: len(instance.results) >= len(offsets))
    assert sorted(instance.offsets("t")) == [*offsets]
    assert {result.outcome for result in instance.results} == {"scored"}


def tell(instance: Instance, data_type: str, version: int = 0, **more: object) -> None:
    descriptor = build(data_type=data_type, name="m", version=version, **more)  # type: ignore[arg-type]
    instance.take(instance.flink.element(instance.key(data_type), descriptor, input=2))


def refuse(instance: Instance) -> None:
    for n in range(MANY):
        instance.publish(f"typo-{n}", 1)
    assert instance.told[-MANY:] == [f"refused typo-{n} 1" for n in range(MANY)]


def fail(instance: Instance) -> None:
    for n in range(MANY):
        instance.publish(f"typo-{n}", 7, b"bad")
    instance.until(lambda: sum(one.startswith("refused typo") for one in instance.told) == MANY)


def withdraw(instance: Instance) -> None:
    for n in range(MANY):
        tell(instance, f"typo-{n}", operation=WITHDRAW)


@pytest.mark.parametrize("invent", [refuse, fail, withdraw])
@pytest.mark.parametrize("keyed", [True, False])
def test_publications_for_types_that_there_are_not_leave_a_bounded_number_behind(keyed: bool, invent) -> None:  # type: ignore[no-untyped-def]
    """Each kept a state, in every key group, and a timer ten times a second, for ever."""
    known = {"types": frozenset({"t"})} if invent is refuse else {}
    instance = Instance(keyed, **known)
    instance.serve("t")
    invent(instance)
    for _ in range(3):
        instance.take(instance.flink.pass_time(instance.flink.clock + 1000))
    assert len(instance.serving.data_types()) <= IDLE_KEPT + 1
    kept = instance.flink.kept()
    assert {key for _, key in kept.timers[False]} == {instance.key("t")}
    names = {name for of in kept.states["model-logs"].values() for name in of}
    assert len(names) <= IDLE_KEPT + 1
    instance.send("t", 0, 1.0)
    scored(instance, 0)
    after = again(instance, keyed)
    after.send("t", 1, 1.0)
    scored(after, 1)


@pytest.mark.parametrize("keyed", [True, False])
def test_what_was_seen_of_a_type_is_known_until_many_others_came(keyed: bool) -> None:
    instance = Instance(keyed)
    tell(instance, "t", 5, data=b"ok")
    instance.until(lambda: instance.serving.serves("t"))
    tell(instance, "t", operation=WITHDRAW)
    instance.look()
    tell(instance, "t", 3, data=b"old")
    assert instance.told[-2:] == ["withdrawn t 5", "refused t 3"]
    after = again(instance, keyed)
    tell(after, "t", 3, data=b"old")
    assert after.told == ["refused t 3"]
    withdraw(after)
    tell(after, "t", 3, data=b"old")
    after.until(lambda: after.serving.serves("t"))


def test_a_type_without_a_model_has_no_timers_until_it_is_heard_of_again() -> None:
    instance = Instance(True, buffer=LONG)
    instance.publish("t", 1, b"bad")
    instance.until(lambda: instance.told == ["refused t 1"])
    instance.take(instance.flink.pass_time(instance.flink.clock + 1000))
    assert instance.flink.kept().timers == {True: set(), False: set()}
    instance.send("t", 0, 1.0)
    instance.publish("t", 2)
    scored(instance, 0)


def test_records_that_wait_outlive_what_is_known_of_their_type() -> None:
    instance = Instance(True, buffer=LONG)
    instance.publish("t", 1, b"bad")
    instance.until(lambda: instance.told == ["refused t 1"])
    instance.send("t", 0, 1.0, 2.0)
    withdraw(instance)
    assert "t" not in instance.serving.data_types() and instance.waiting() == [0, 1]
    after = again(instance, keyed=True)
    after.publish("t", 1)
    scored(after, 0, 1)
    assert "state buffered" not in left(after)


def test_keys_of_another_parallelism_lose_their_timers_once_nothing_waits_under_them() -> None:
    four = [Instance(False, index=index, parallelism=4, buffer=LONG) for index in range(4)]
    for index, instance in enumerate(four):
        instance.send("t", 10 * index, 1.0)
    (kept,) = given_out([instance.flink.kept() for instance in four], 1)
    one = Instance(False, kept, buffer=LONG)
    one.take(one.flink.pass_time(1500))
    assert len({key for _, key in one.flink.kept().timers[False]}) == 4 and one.results == []
    one.serve("t")
    scored(one, 0, 10, 20, 30)
    one.take(one.flink.pass_time(one.flink.clock + 1000))
    timers = one.flink.kept().timers
    assert {key for of in timers.values() for _, key in of} == {one.key("t")}
    one.send("t", 50, 1.0)
    scored(one, 0, 10, 20, 30, 50)


def test_the_router_forgets_types_and_timers_too() -> None:
    harness = Harness()
    harness.tell(name="a", model_type="PMML", data=b"1")
    for n in range(MANY):
        harness.bytes(build(data_type=f"typo-{n}", name="x", operation=WITHDRAW))
    assert len(harness.operator._router.data_types()) == IDLE_KEPT + 1
    assert {len(of) for of in harness.store.states["candidates"].values()} == {IDLE_KEPT + 1}
    assert harness.operator._router.routes("t")
    after = Keyed(harness.operator, Kept(harness.store.states), 0, 1)
    for key in ("0", "2"):
        after.element(key, build(data_type="t", name="b", model_type="PMML", data=b"1"), input=2)
    after.pass_time(1000)
    assert {key for of in after.kept().timers.values() for _, key in of} == {"0"}


def test_plans_for_types_that_there_are_not_are_bounded_as_models_are() -> None:
    harness = Harness(quotas=Quotas(types=frozenset({"t"}), new_types=2))
    plan = write_plan(Plan()).decode()
    names = ("a", "b", "c", "t", "a")
    said = [harness.bytes(build(data_type=name, operation=DECIDE, plan=plan)) for name in names]
    kinds = [one[0].split()[0] for one in said]
    assert kinds == ["decides", "decides", "refused", "decides", "already_served"]


def test_an_executor_forgets_types_too_and_an_answer_that_comes_later_harms_nothing() -> None:
    flink = Flink()
    for n in range(MANY):
        descriptor = build(data_type=f"typo-{n}", name="x", operation=WITHDRAW)
        flink.sent(flink.operator.process_element2(descriptor, flink.context()))
    assert len(flink.bench.executor.data_types()) == IDLE_KEPT
    assert {len(of) for of in flink.store.states["candidate-logs"].values()} == {IDLE_KEPT}
    flink.bench.close()
    bench = Bench()
    bench.serve("a")
    assert not bench.executor.idle("t")
    bench.ask("a", numbers=[STICKS])
    (runtime,) = bench.loader.of("a")
    assert isinstance(runtime, Sticking) and runtime.entered.acquire(timeout=WAIT)
    bench.unpublish("a")
    assert bench.executor.idle("t")
    bench.executor.drop("t")
    (answer,) = bench.answers()
    assert (answer.batch_id, answer.outcome) == ("b1", AnswerOutcome.DECLINED)
    assert bench.executor.look_again_ms("0/t") is None and bench.executor.data_types() == []
    runtime.go.release()
    bench.until(lambda: runtime.closed == 1)
    assert bench.executor.take("0/t") == []
    bench.close()
