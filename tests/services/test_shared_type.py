"""Two serving jobs share a data type by the arms of an experiment, on real Kafka: each record is scored once,
also where the ramp goes on and the experiment ends in the middle of them."""

from __future__ import annotations

import json
import time
from collections import Counter

from msgspec.structs import replace

from devservices.kafka import KafkaBroker
from schemas.plans.plan import write_plan
from schemas.results.records import ModelToServeStats, decode
from tests.experiment_evidence import OF_USERS
from tests.models import constant_frozen_graph
from tests.streams import Sent, Streams
from udfs.ensemble.routing.arms import LEAD_MS
from udfs.lifecycle.experiments.arm_plans import plan_after, plan_of_step
from udfs.lifecycle.experiments.assignment import treated
from udfs.models.descriptor import DECIDE, build
from udfs.models.runtimes.base import PartialInput

COUNT = 4000
DECLARED = replace(OF_USERS, data_type="wine", ramp=(0.2, 1.0))
START = time.time_ns() // 1_000_000 - 3_600_000  # older ones the broker's retention would delete
PLANS = [plan_of_step(DECLARED, 0), plan_of_step(DECLARED, 1), plan_after(DECLARED, "promoted")]


def model(name: str, value: float) -> bytes:
    inputs = [PartialInput("x", None, None, ("a",))]
    return build(data_type="wine", name=name, version=1, data=constant_frozen_graph(value, 1), inputs=inputs)


def expected(number: int) -> tuple[str, dict[str, tuple[str, int]]]:
    """The model and experiments of a record, a thousand of which are in each quarter: before the first plan,
    at both steps, and after the end."""
    quarter = number // (COUNT // 4)
    if quarter in (0, 3):
        return ("old", {}) if quarter == 0 else ("new", {})
    if number % 10 == 0:
        return "old", {}  # without an entity
    (drawn,) = treated(DECLARED, [b"%d" % (number % 700)], quarter - 1).tolist()
    return (
        ("new", {"wine-v4": ("treatment", quarter - 1)})
        if drawn
        else (
            "old",
            {"wine-v4": ("control", quarter - 1)},
        )
    )


def test_each_record_is_scored_once_by_the_job_of_its_arm(kafka: KafkaBroker) -> None:
    streams = Streams(kafka)
    for step, plan in enumerate(PLANS, 1):
        created = START + step * COUNT // 4 - LEAD_MS
        text = write_plan(plan).decode()
        streams.publish(
            build(
                data_type="wine",
                name="wine-v4",
                version=step,
                created_ms=created,
                operation=DECIDE,
                plan=text,
            )
        )
    streams.publish(model("old", 1.0))
    streams.publish(model("new", 2.0))
    users = [{"user": k % 700} if k % 10 else {} for k in range(COUNT)]
    records = [json.dumps({"id": k, "a": 1.0, **users[k]}).encode() for k in range(COUNT)]
    sent = [Sent(value, partition=k % 4, timestamp=START + k) for k, value in enumerate(records)]
    sent.append(Sent(b"no record", timestamp=START + COUNT // 2))
    streams.send(sent)
    for job, mode, name in (("serve.py", "thread", "old"), ("serve_partitioned.py", "process", "new")):
        sharing = json.dumps({"wine": {"model": name, "undivided": name == "old"}})
        own = {"kafka__group": f"{streams.prefix}-{name}", "name": f"{streams.prefix}-{name}"}
        done = streams.run_bounded(job, mode=mode, parallelism="2", sharing=sharing, **own)
        assert done.returncode == 0, done.stderr[-3000:]
    results = streams.results()
    assert Counter(r.record["id"] for r in results) == dict.fromkeys(range(COUNT), 1)
    for result in results:
        said = (result.model, dict(result.experiments))
        assert said == expected(result.record["id"]), result
        assert list(result.scores.values()) == [1.0 if result.model == "old" else 2.0]
    assert len(streams.dead_letters()) == 1
    stats = [decode(ModelToServeStats, m.value()) for m in streams.read("model-stats")]
    last = {(one.name, one.subtask): one for one in stats}
    for name in ("old", "new"):
        used = sum(one.usage + one.left for one in last.values() if one.name == name)
        assert used == COUNT + (name == "new"), "what a job left to the other is counted"
