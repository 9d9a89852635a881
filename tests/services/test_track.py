"""Keeping who served what on a real cluster: a task manager dies, a savepoint is restored; the registry has
each event once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from schemas.results.records import EventKind, ModelEvent, encode
from tests.registered import event, stats
from tests.streams import Sent, Streams
from udfs.stores.registry.models import ModelRegistry


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_what_is_told_is_kept_once_whatever_happens(
    kafka: KafkaBroker, flink: StandaloneCluster, tmp_path: Path, mode: str
) -> None:
    streams, registry = Streams(kafka), ModelRegistry(f"sqlite:///{tmp_path}/registry.db")
    topic, job_file = streams.topic, ROOT / "jobs" / "track.py"
    flags = {"name": f"track-{streams.prefix}", "registry": f"sqlite:///{tmp_path}/registry.db"}
    flags |= {"kafka.bootstrap": kafka.bootstrap, "kafka.group": streams.prefix, "checkpoint-seconds": "1"}
    flags |= {"kafka.models": topic("models"), "kafka.dead-letters": topic("dead-letters"), "mode": mode}
    for name in ("model-events", "model-stats"):
        flags[f"kafka.{name}"] = json.dumps({topic(name): "wine-serve"})
    arguments = [part for name, value in flags.items() for part in (f"--{name}", value)]
    events = [event(EventKind.SERVED, 100 + n, 1 + n) for n in range(9)]

    def tell(some: list[ModelEvent], at: int) -> None:
        streams.send(Sent(encode(one), topic="model-events") for one in some)
        streams.send([Sent(encode(stats(100, at)), topic="model-stats")])

    def wait_for(count: int, at: int) -> None:
        def kept() -> bool:
            newest = [one.at for _, one in registry.statistics()]
            return len(registry.events()) >= count and newest == [at]

        wait_until(kept, 150, lambda: f"{len(registry.events())} of {count} events\n{flink.logs(15)}")

    job = flink.run(job_file, *arguments, parallelism=1)
    try:
        flink.wait_running(job, 180)
        tell(events[:3], 150)
        wait_for(3, 150)
        while flink.task_managers:
            flink.kill_task_manager(0)
        tell(events[3:6], 160)
        flink.add_task_manager(2)
        wait_for(6, 160)
        assert flink.rest.exceptions(job), "the job has not noticed that its task manager died"
        savepoint = flink.stop_with_savepoint(job)
        tell([*events[6:], *events[:2]], 170)  # some again
        job = flink.run(job_file, *arguments, savepoint=savepoint, parallelism=1)
        flink.wait_running(job, 180)
        wait_for(9, 170)
        flink.stop_with_savepoint(job)
    finally:
        if flink.rest.state(job) == "RUNNING":
            flink.rest.cancel(job)
    assert [one for _, one in registry.events()] == events
    assert {job for job, _ in registry.events()} == {"wine-serve"}
    assert streams.dead_letters() == []
