"""Task managers that die in mid-stream cost time, and nothing else: also where two jobs share a data type by
the arms of an experiment."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from msgspec.structs import replace

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from schemas.plans.plan import write_plan
from tests import models
from tests.experiment_evidence import OF_USERS
from tests.feeder import Feeder
from tests.streams import Streams
from udfs.ensemble.routing.arms import LEAD_MS
from udfs.lifecycle.experiments.arm_plans import plan_of_step
from udfs.lifecycle.experiments.assignment import treated
from udfs.models.descriptor import DECIDE, build

DECLARED = replace(OF_USERS, data_type="wine", entity="id", ramp=(1.0,))
VALUES = {"old": 1.0, "new": 2.0}


def publish(streams: Streams, folder: Path) -> None:
    """The plan that divides wine from now on, its two models, and the one of tea."""
    plan = write_plan(plan_of_step(DECLARED, 0)).decode()
    about = {"data_type": "wine", "name": "wine-v4", "version": 1}
    divides_from_now = time.time_ns() // 1_000_000 - LEAD_MS
    streams.publish(build(**about, created_ms=divides_from_now, operation=DECIDE, plan=plan))
    for name, value in VALUES.items():
        data = models.constant_frozen_graph(value)
        streams.publish(build(data_type="wine", name=name, version=1, data=data))
    data = models.zipped(models.constant_saved_model(folder / "m", 3))
    streams.publish(build(data_type="tea", name="t", model_type="TENSORFLOWSAVED", version=1, data=data))


def test_killed_task_managers_lose_and_double_nothing(
    kafka: KafkaBroker, flink: StandaloneCluster, tmp_path: Path
) -> None:
    streams = Streams(kafka, records=("wine", "tea"))
    publish(streams, tmp_path)

    def started(job: str, name: str, read: Streams) -> str:
        sharing = json.dumps({"wine": {"model": name, "undivided": name == "old"}})
        own = {"kafka__group": f"{streams.prefix}-{name}", "name": f"{streams.prefix}-{name}"}
        arguments = read.arguments(kafka__exactly_once="true", sharing=sharing, **own)
        return flink.run(ROOT / "jobs" / job, *arguments)

    growing, found = streams.growing("results"), 0

    def wait_results(count: int) -> None:
        def there() -> bool:
            nonlocal found
            found += len(growing.more())
            return found >= count

        wait_until(there, 150, lambda: f"{found} of {count} results\n{flink.logs()}")

    jobs: list[str] = []
    try:
        jobs.append(started("serve.py", "old", streams))
        jobs.append(started("serve_partitioned.py", "new", streams.of("wine")))
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
        growing.close()
        for job in jobs:
            flink.rest.cancel(job)
    results = streams.results()
    assert Counter(r.record["id"] for r in results) == Counter(range(sent))
    wine = [r for r in results if r.data_type == "wine"]
    arms = treated(DECLARED, [b"%d" % r.record["id"] for r in wine], 0).tolist()
    assert 0.4 < sum(arms) / len(wine) < 0.6
    for result, is_treated in zip(wine, arms, strict=True):
        arm, model = ("treatment", "new") if is_treated else ("control", "old")
        assert (result.model, result.scores) == (model, {"y": VALUES[model]})
        assert dict(result.experiments) == {"wine-v4": (arm, 0)}
    tea = [r for r in results if r.data_type == "tea"]
    assert len(tea) > sent / 3 and len(wine) > sent / 3
    assert {(r.model, r.version, r.scores["y"]) for r in tea} == {("t", 1, 3.0)}
    assert streams.dead_letters() == []
