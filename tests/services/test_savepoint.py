"""Upgrades by savepoint on a real cluster: other code, other parallelism; nothing lost, nothing doubled."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from tests import models
from tests.feeder import Feeder
from tests.streams import Streams
from udfs.models.descriptor import build

PACKAGES = ("jobs", "operators", "udfs", "schemas")
SMALL = {
    "taskmanager.memory.process.size": "1200m",
    "taskmanager.memory.managed.size": "32m",
    "metrics.fetcher.update-interval": "500",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[StandaloneCluster]:
    """Task managers that find the project's code only in what a job brings along."""
    made = StandaloneCluster(1, SMALL)
    made.env.pop("PYTHONPATH")
    with made:
        yield made


@pytest.fixture(scope="module")
def constants(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """Archives of models that answer with their version."""
    folder = tmp_path_factory.mktemp("constants")
    return {v: models.zipped(models.constant_saved_model(folder / str(v), v)) for v in (1, 2, 3)}


def release(folder: Path, name: str) -> Path:
    """A copy of the project's code whose results say which release wrote them."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / name / package, ignore=shutil.ignore_patterns("__pycache__"))
    results = folder / name / "schemas" / "results" / "results.py"
    before = results.read_text()
    after = before.replace("    fields = {\n", f'    fields = {{\n        "release": "{name}",\n', 1)
    assert after != before
    results.write_text(after)
    return folder / name


class Upgrades:
    """One job in its successive releases, each started from the savepoint of the one before."""

    def __init__(self, cluster: StandaloneCluster, streams: Streams, job: str) -> None:
        self.cluster, self.streams, self.job = cluster, streams, job
        self.running = ""
        self.savepoint: str | None = None

    def start(self, code: Path, parallelism: int) -> None:
        # between the first release and the first model all records wait, on a slow machine for long
        buffer = json.dumps({"records": 10_000_000, "bytes": 1 << 40, "seconds": 900})
        settings = self.streams.arguments(
            kafka__exactly_once="true", parallelism=str(parallelism), buffer=buffer
        )
        if self.savepoint is None:  # those of another test have its code, whose files are gone
            while self.cluster.task_managers:
                self.kill_the_task_manager()
        while len(self.cluster.task_managers) < parallelism:
            self.cluster.add_task_manager()
        self.running = self.cluster.run(
            code / "jobs" / self.job,
            *settings,
            savepoint=self.savepoint,
            parallelism=parallelism,
            pyfs=str(code),
        )
        self.cluster.wait_running(self.running, 180)

    def stop(self) -> None:
        self.savepoint = self.cluster.stop_with_savepoint(self.running)

    def kill_the_task_manager(self) -> None:
        """Kill the first one, which has run the job so far."""
        self.cluster.kill_task_manager(0)

    def publish(self, version: int, constants: dict[int, bytes]) -> None:
        for data_type in self.streams.records:
            kind, data = "TENSORFLOWSAVED", constants[version]
            self.streams.publish(
                build(data_type=data_type, name="c", model_type=kind, version=version, data=data)
            )

    def wait_read(self, records: int) -> None:
        """Return when the scoring operators have been given micro-batches; without a model they wait."""

        def read() -> bool:
            vertices = self.cluster.rest.call(f"/jobs/{self.running}")["vertices"]
            return any(v["metrics"]["read-records"] > records for v in vertices if "score" in v["name"])

        wait_until(read, 150, lambda: "no micro-batch has reached the scoring operator")

    def wait_results(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """The results that a read-committed reader sees, once they are `enough`."""
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found[:] = [orjson.loads(m.value() or b"") for m in self.streams.read("results")]
            return enough(found)

        wait_until(seen, 150, lambda: f"{len(found)} results, the last {found[-1:]}\n{self.cluster.logs(15)}")
        return found


def seen(version: int, release: str, partitions: int = 4) -> Callable[[list[dict[str, Any]]], bool]:
    """Whether this version scored, in this release, records of every partition."""

    def enough(results: list[dict[str, Any]]) -> bool:
        stamps = [r["millrace"] for r in results]
        places = {
            (s["source"], s["partition"])
            for s in stamps
            if (s["version"], s["release"]) == (version, release)
        }
        return len(places) >= partitions

    return enough


def check(results: list[dict[str, Any]], sent: int) -> None:
    """Each record once, scored by what its stamp says; along a partition versions and releases only rise."""
    assert Counter(r["id"] for r in results) == Counter(range(sent))
    order: dict[tuple[str, int], list[tuple[int, int, str]]] = {}
    for stamp in (r["millrace"] for r in results):
        assert stamp["outcome"] == "scored" and stamp["scores"] == {"y": stamp["version"]}
        row = (stamp["offset"], stamp["version"], stamp["release"])
        order.setdefault((stamp["source"], stamp["partition"]), []).append(row)
    for rows in order.values():
        rows.sort()
        assert [offset for offset, *_ in rows] == list(range(len(rows)))
        assert [v for _, v, _ in rows] == sorted(v for _, v, _ in rows)
        assert [r for *_, r in rows] == sorted(r for *_, r in rows)


def test_releases_and_parallelisms_follow_each_other(
    kafka: KafkaBroker, cluster: StandaloneCluster, constants: dict[int, bytes], tmp_path: Path
) -> None:
    a, b = (release(tmp_path, name) for name in "ab")
    streams = Streams(kafka)
    job = Upgrades(cluster, streams, "serve_partitioned.py")
    with Feeder(streams, 100) as feeder:
        job.start(a, 1)
        job.wait_read(20)  # there is no model yet: these batches travel in the savepoint
        job.stop()
        # In thread mode a task manager keeps the modules of the first job that it ran: other code
        # needs other task managers, as in an upgrade of an application cluster.
        job.kill_the_task_manager()
        job.start(b, 2)
        job.publish(1, constants)
        job.wait_results(seen(1, "b"))
        job.stop()
        job.publish(2, constants)
        job.start(b, 4)
        job.wait_results(seen(2, "b"))
        job.stop()
        job.start(b, 2)
        job.publish(3, constants)
        job.wait_results(seen(3, "b"))
        sent = feeder.stop()
    job.wait_results(lambda results: len(results) >= sent)
    job.stop()
    check(job.wait_results(bool), sent)
    assert streams.dead_letters() == []


def test_types_of_records_change_their_home(
    kafka: KafkaBroker, cluster: StandaloneCluster, constants: dict[int, bytes], tmp_path: Path
) -> None:
    code = release(tmp_path, "b")
    streams = Streams(kafka, partitions=2, records=("wine", "tea", "rice", "oats"))
    job = Upgrades(cluster, streams, "serve.py")
    with Feeder(streams, 100) as feeder:
        job.start(code, 1)
        job.publish(1, constants)
        job.wait_results(seen(1, "b", 8))
        job.stop()
        job.start(code, 3)
        job.publish(2, constants)
        job.wait_results(seen(2, "b", 8))
        sent = feeder.stop()
    job.wait_results(lambda results: len(results) >= sent)
    job.stop()
    check(job.wait_results(bool), sent)
