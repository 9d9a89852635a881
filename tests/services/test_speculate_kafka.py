"""The speculating job with real Kafka: candidates and plans change under load, candidates misbehave."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from devservices.kafka import KafkaBroker
from devservices.process import Process, wait_until
from schemas.model_pb2 import ModelDescriptor
from schemas.plans.plan import read_plan
from schemas.results.decided import AnswerState, Decided
from schemas.results.records import EventKind, ModelEvent, Outcome
from tests import models
from tests.decided_results import DecidedResults, assert_decided_by_plans
from tests.feeder import Feeder
from tests.streams import Sent, Streams
from udfs.models.descriptor import DECIDE, WITHDRAW, build
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

PER_SECOND = 400
CALL_TIMEOUT_MS, MAX_ABANDONED = 1000, 2
HOUR_MS = 3_600_000
PLANS: dict[int, dict[str, Any]] = {
    1: {"policy": {"policy": "first"}, "deadline_ms": 30_000},
    2: {
        "policy": {"policy": "majority", "output": "y", "least": 3, "tie": "highest",
                   "otherwise": {"policy": "first"}},
        "deadline_ms": 30_001,
    },
    3: {"policy": {"policy": "mean", "output": "y", "otherwise": {"policy": "first"}}, "deadline_ms": 30_002},
    4: {"policy": {"policy": "prefer", "candidates": ["b"], "otherwise": {"policy": "first"}}},
}  # fmt: skip
FAULTY_PLANS: dict[int, dict[str, Any]] = {
    1: {"policy": {"policy": "median", "output": "y", "otherwise": {"policy": "first"}}, "deadline_ms": 5000},
    2: {
        "policy": {"policy": "prefer", "candidates": ["stuck"], "otherwise": {"policy": "first"}},
        "deadline_ms": 500,
    },
}


class SpeculatingJob:
    """One job on a mini cluster of its own, with records of two types, and what is said to and by it."""

    def __init__(self, streams: Streams, process: Process) -> None:
        self.streams, self.process = streams, process

    def serve(self, data_type: str, name: str, version: int, data: bytes) -> None:
        self.streams.publish(
            build(data_type=data_type, name=name, model_type="TENSORFLOWSAVED", version=version, data=data)
        )

    def decide_by(self, data_type: str, version: int, plan: dict[str, Any]) -> None:
        text = json.dumps(plan)
        self.streams.publish(
            build(data_type=data_type, name="plan", operation=DECIDE, version=version, plan=text)
        )
        self.events(data_type, (EventKind.DECIDES, "plan", version))

    def events(self, data_type: str, *wanted: tuple[EventKind, str, int]) -> None:
        """Return when there is each of these as often as it is named."""
        found: list[ModelEvent] = []

        def there() -> bool:
            found[:] = [e for e in self.streams.events() if e.data_type == data_type]
            return not Counter(wanted) - Counter((e.kind, e.name, e.version) for e in found)

        wait_until(there, 180, lambda: f"of {wanted} there is {found}\n{self.process.tail()}")

    def stats(self) -> Iterator[dict[str, Any]]:
        return (orjson.loads(m.value() or b"") for m in self.streams.read("model-stats"))


@pytest.fixture(scope="module")
def job(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpeculatingJob]:
    streams, faults = Streams(kafka, records=("wine", "tea")), tmp_path_factory.mktemp("job") / "faults.json"
    faults.write_text(json.dumps({"stuck": HOUR_MS}))
    settings = {
        "stats_seconds": "1",
        "executors__model_types": '["TENSORFLOWSAVED"]',
        "executors__call_timeout_ms": str(CALL_TIMEOUT_MS),
        "executors__max_abandoned": str(MAX_ABANDONED),
        "executors__fault_injection": str(faults),
    }
    with streams.running("speculate.py", **settings) as process:
        yield SpeculatingJob(streams, process)


@pytest.fixture(scope="module")
def constants(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """Models that answer with their version."""
    folder = tmp_path_factory.mktemp("constants")
    return {v: models.zipped(models.constant_saved_model(folder / str(v), v)) for v in (1, 2, 3, 4)}


def plans(raw: dict[int, dict[str, Any]]) -> dict[tuple[str, int], Any]:
    return {("plan", version): read_plan(json.dumps(plan)) for version, plan in raw.items()}


def asked(names: Sequence[str], version: int) -> Any:
    """Whether exactly these were asked, by this version of the plan."""
    return lambda d: (set(d.answers), d.plan_version) == (set(names), version)


def test_candidates_and_plans_change_under_load(job: SpeculatingJob, constants: dict[int, bytes]) -> None:
    results = DecidedResults(job.streams, "wine")

    def swap(name: str, version: int) -> None:
        job.serve("wine", name, version, constants[version])
        job.events("wine", (EventKind.SERVED, name, version))

    def scored_by(name: str, version: int) -> None:
        results.wait_new(PER_SECOND // 4, lambda d: d.answers[name].version == version)

    swap("a", 1)
    with Feeder(job.streams.of("wine"), PER_SECOND) as feeder:
        results.wait_new(100, asked("a", 0))
        swap("b", 2)
        swap("c", 3)
        results.wait_new(100, asked("abc", 0))
        for version in (1, 2):
            job.decide_by("wine", version, PLANS[version])
            results.wait_new(PER_SECOND // 4, asked("abc", version))
        swap("a", 2)
        scored_by("a", 2)
        job.serve("wine", "b", 9, b"no archive at all")
        job.events("wine", (EventKind.REFUSED, "b", 9))
        job.streams.publish(_unchecked_plan("wine", 9, '{"policy": {"policy": "coin"}}'))
        job.events("wine", (EventKind.REFUSED, "plan", 9))
        scored_by("b", 2)
        job.decide_by("wine", 3, PLANS[3])
        results.wait_new(PER_SECOND // 4, asked("abc", 3))
        job.streams.publish(build(data_type="wine", name="c", operation=WITHDRAW))
        job.events("wine", (EventKind.WITHDRAWN, "c", 3))
        results.wait_new(PER_SECOND // 4, asked("ab", 3))
        swap("b", 4)
        job.decide_by("wine", 4, PLANS[4])
        results.wait_new(PER_SECOND // 4, lambda d: d.result.model == "b" and d.result.version == 4)
        sent = feeder.stop()
    results.wait_all(sent)

    found = results.found
    assert Counter(d.result.record["id"] for d in found) == Counter(range(sent))
    assert {(d.result.partition, d.result.offset) for d in found} == {
        (d.result.record["id"] % 4, d.result.record["id"] // 4) for d in found
    }
    for decided in found:
        for answer in decided.answers.values():
            assert answer.outcome is not AnswerState.SCORED or answer.scores == {"y": answer.version}
    default = {("", 0): read_plan("")}
    assert_decided_by_plans(found, default | plans(PLANS))
    assert {r.plan_version for r in found} == {0, *PLANS}
    # of one partition, batches are routed in order: the plan's version never falls
    for partition in range(4):
        order = sorted((d.result.offset, d.plan_version) for d in found if d.result.partition == partition)
        assert all(one <= two for (_, one), (_, two) in pairwise(order))
    values = {
        (d.plan_version, d.rule, d.result.scores["y"]) for d in found if d.result.outcome is Outcome.SCORED
    }
    # of 1, 2 and 3 the highest; then a and b are both of version 2
    assert {(2, "majority", 3.0), (2, "majority", 2.0), (3, "mean", 7 / 3), (3, "mean", 2.0)} <= values
    assert (4, "prefer", 4.0) in values
    undecided = [d for d in found if d.deadline_ms > 1000 and d.result.outcome is not Outcome.SCORED]
    assert not undecided, undecided[:3]
    assert job.streams.dead_letters() == []


def _unchecked_plan(data_type: str, version: int, plan: str) -> bytes:
    message = ModelDescriptor(name="plan", dataType=data_type, version=version, plan=plan)
    message.operation = ModelDescriptor.Operation.Value(DECIDE)
    return message.SerializeToString()


def test_whoever_misbehaves_the_others_decide(
    job: SpeculatingJob, constants: dict[int, bytes], tmp_path: Path
) -> None:
    results = DecidedResults(job.streams, "tea")
    for name, data in (("good", constants[1]), *faulty(tmp_path).items()):
        job.serve("tea", name, 1, data)
        job.events("tea", (EventKind.SERVED, name, 1))
    job.decide_by("tea", 1, FAULTY_PLANS[1])
    seen: list[Decided] = []

    def send(values: Sequence[float]) -> list[Decided]:
        """Records of these values, and nothing more until their results are there."""
        start = len(seen)
        lines = (orjson.dumps({"id": start + n, "x": [v, 0.0]}) for n, v in enumerate(values))
        job.streams.send([Sent(line, topic="tea") for line in lines])
        new = results.wait_new(len(values))
        seen.extend(new)
        return new

    for decided in send([1.0] * 10):
        assert all(a.outcome is AnswerState.SCORED for a in decided.answers.values()), decided
        assert decided.result.scores == {"y": 1.0} and decided.rule == "median"
    # more at fault in one batch, and calls are not halved often enough to find them all
    for decided in send([1000.0 if n % 40 == 7 else 1.0 for n in range(100)]):
        at_fault = decided.result.record["x"][0] == 1000.0
        states = {name: answer.outcome for name, answer in decided.answers.items()}
        assert (states["good"], decided.result.scores) == (AnswerState.SCORED, {"y": 1.0})
        assert states["raises"] == states["no_number"]
        assert states["raises"] is (AnswerState.FAILED if at_fault else AnswerState.SCORED), decided
        assert states["misshapen"] is AnswerState.FAILED or not at_fault
        reasons = {name: answer.reason for name, answer in decided.answers.items() if at_fault}
        assert all(reasons[name] for name in reasons if name != "good"), decided

    job.serve("tea", "stuck", 1, constants[2])
    job.events("tea", (EventKind.SERVED, "stuck", 1))
    job.decide_by("tea", 2, FAULTY_PLANS[2])
    for call in range(1, MAX_ABANDONED + 2):
        idle = send([1.0] * 10)
        assert {(d.rule, d.result.outcome) for d in idle} == {("first", Outcome.SCORED)}
        assert all(d.answers["stuck"].outcome is not AnswerState.SCORED for d in idle)
        assert max(d.result.ms for d in idle) >= FAULTY_PLANS[2]["deadline_ms"], "it was waited for"
        abandoned = min(call, MAX_ABANDONED)
        job.events(
            "tea",
            *[(EventKind.ABANDONED, "stuck", 1)] * abandoned,
            *[(EventKind.SERVED, "stuck", 1)] * (abandoned + 1),
        )
    wait_until(
        lambda: "fenced out" in send([1.0])[0].answers["stuck"].reason, 30, lambda: f"at last: {seen[-1]}"
    )
    assert seen[-1].answers["stuck"].outcome is AnswerState.DECLINED and seen[-1].rule == "first"

    def counted() -> bool:
        stats = [s for s in job.stats() if s["data_type"] == "tea"]
        serving = [s for s in stats if s.get("name") == "stuck"]
        racing = [s for s in stats if s.get("candidate") == "stuck"]
        return bool(serving and racing) and (
            (serving[-1]["fenced"], serving[-1]["stuck"]) == (MAX_ABANDONED, MAX_ABANDONED)
            and max(s["fenced"] for s in racing) > 0
            and max(s["wins"] for s in racing) == 0
        )

    wait_until(counted, 30, lambda: f"the last statistics are {list(job.stats())[-8:]}")
    kinds = Counter(e.kind for e in job.streams.events() if e.name == "stuck")
    assert kinds[EventKind.ABANDONED] == MAX_ABANDONED
    assert Counter(d.result.offset for d in seen) == Counter(range(len(seen)))
    assert_decided_by_plans(seen, plans(FAULTY_PLANS))
    assert job.streams.dead_letters() == []


def faulty(folder: Path) -> dict[str, bytes]:
    """Models that answer 1.0, but for records that begin with 1000."""
    tf = configured_tensorflow()

    def raises(x: Any) -> Any:
        return tf.gather(tf.ones(100), tf.cast(x[:, 0], tf.int32))

    def misshapen(x: Any) -> Any:
        return tf.boolean_mask(tf.ones_like(x[:, 0]), x[:, 0] < 100)

    def no_number(x: Any) -> Any:
        return tf.where(x[:, 0] < 100, tf.ones_like(x[:, 0]), float("nan"))

    made = {}
    for score in (raises, misshapen, no_number):
        signature = ((lambda x, score=score: {"y": score(x)}), {"x": ((None, 2), "float32")})
        path = models.save(folder / score.__name__, tf.Module(), {"serving_default": signature})
        made[score.__name__] = models.zipped(path)
    return made
