"""A task manager that dies in mid-stream costs time, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from tests import models
from tests.feeder import Feeder
from tests.streams import Streams
from udfs.models.descriptor import build


def test_a_killed_task_manager_loses_and_doubles_nothing(
    kafka: KafkaBroker, flink: StandaloneCluster, tmp_path: Path
) -> None:
    streams = Streams(kafka)
    data = models.zipped(models.constant_saved_model(tmp_path / "m", 1))
    streams.publish(build(data_type="wine", model_type="TENSORFLOWSAVED", version=1, data=data))

    def wait_results(count: int) -> None:
        wait_until(
            lambda: len(streams.read("results")) >= count, 150, lambda: f"no {count} results\n{flink.logs()}"
        )

    job = flink.run(ROOT / "jobs" / "serve.py", *streams.arguments(kafka__exactly_once="true"))
    try:
        flink.wait_running(job, 180)
        with Feeder(streams, 500) as feeder:
            wait_results(1000)
            flink.kill_task_manager(0)
            flink.kill_task_manager(0)
            flink.add_task_manager()
            flink.add_task_manager()
            wait_results(feeder.sent)
            sent = feeder.stop()
        wait_results(sent)
        assert flink.rest.exceptions(job), "the job has not noticed that its task manager died"
    finally:
        flink.rest.cancel(job)
    results = streams.results()
    assert Counter(r.record["id"] for r in results) == Counter(range(sent))
    assert {(r.version, r.scores["y"]) for r in results} == {(1, 1.0)}
    assert streams.dead_letters() == []
