"""Two serving jobs share a data type by the arms of an experiment: a task manager of each dies on the way."""

from __future__ import annotations

import json
import time
from collections import Counter

from msgspec.structs import replace

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from schemas.plans.plan import write_plan
from tests.experiment_evidence import OF_USERS
from tests.feeder import Feeder
from tests.models import constant_frozen_graph
from tests.streams import Streams
from udfs.ensemble.routing.arms import LEAD_MS
from udfs.lifecycle.experiments.arm_plans import plan_of_step
from udfs.lifecycle.experiments.assignment import treated
from udfs.models.descriptor import DECIDE, build

DECLARED = replace(OF_USERS, data_type="wine", entity="id", ramp=(1.0,))
VALUES = {"old": 1.0, "new": 2.0}


def test_each_record_is_scored_once_by_the_job_of_its_arm(
    kafka: KafkaBroker, flink: StandaloneCluster
) -> None:
    streams = Streams(kafka)
    plan = write_plan(plan_of_step(DECLARED, 0)).decode()
    divides_from_now = time.time_ns() // 1_000_000 - LEAD_MS
    about = {"data_type": "wine", "name": "wine-v4", "version": 1, "created_ms": divides_from_now}
    streams.publish(build(**about, operation=DECIDE, plan=plan))
    for name, value in VALUES.items():
        data = constant_frozen_graph(value)
        streams.publish(build(data_type="wine", name=name, version=1, data=data))

    def started(job: str, name: str) -> str:
        sharing = json.dumps({"wine": {"model": name, "undivided": name == "old"}})
        own = {"kafka__group": f"{streams.prefix}-{name}", "name": f"{streams.prefix}-{name}"}
        # on a slow machine a model takes longer than records wait by default
        buffer = json.dumps({"records": 1_000_000, "seconds": 300})
        arguments = streams.arguments(kafka__exactly_once="true", sharing=sharing, buffer=buffer, **own)
        return flink.run(ROOT / "jobs" / job, *arguments)

    def wait_results(count: int) -> None:
        wait_until(
            lambda: len(streams.read("results")) >= count, 150, lambda: f"no {count} results\n{flink.logs()}"
        )

    jobs: list[str] = []
    try:
        jobs += [started("serve.py", "old"), started("serve_partitioned.py", "new")]
        for job in jobs:
            flink.wait_running(job, 180)
        with Feeder(streams, 500) as feeder:
            wait_results(1000)
            flink.kill_task_manager(0)
            flink.kill_task_manager(0)
            flink.add_task_manager(2)
            wait_results(feeder.sent)
            sent = feeder.stop()
        wait_results(sent)
        assert all(flink.rest.exceptions(job) for job in jobs), "a job has not noticed that it died"
    finally:
        for job in jobs:
            flink.rest.cancel(job)
    results = streams.results()
    assert Counter(r.record["id"] for r in results) == Counter(range(sent))
    arms = treated(DECLARED, [b"%d" % n for n in range(sent)], 0).tolist()
    assert 0.4 < sum(arms) / sent < 0.6
    for result in results:
        arm, model = ("treatment", "new") if arms[result.record["id"]] else ("control", "old")
        assert (result.model, result.scores) == (model, {"y": VALUES[model]})
        assert dict(result.experiments) == {"wine-v4": (arm, 0)}
    assert streams.dead_letters() == []
