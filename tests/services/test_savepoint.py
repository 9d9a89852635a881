"""Upgrades by savepoint on a real cluster: other code, other parallelism; nothing lost, nothing doubled."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, ServiceError, wait_until
from tests import models
from tests.feeder import Feeder
from tests.streams import Streams
from udfs.models.descriptor import build

pytestmark = pytest.mark.cluster
PACKAGES = ("jobs", "operators", "udfs", "schemas")
SMALL = {
    "taskmanager.memory.process.size": "1200m",
    "taskmanager.memory.managed.size": "32m",
    "metrics.fetcher.update-interval": "500",
}
PER_SECOND = 20  # some of each partition at each step; more only takes the processors that the jobs have


class Machines:
    """Task managers that find the project's code only in what a job brings along.

    In thread mode they keep the modules of the first job that they ran: other code needs others, as in an
    upgrade of an application cluster. Jobs of the same code go on with those that have it.
    """

    def __init__(self, cluster: StandaloneCluster) -> None:
        self.cluster = cluster
        self._code: Path | None = None

    def prepare(self, code: Path, count: int) -> None:
        """Return when at least `count` are there, none of which has other code."""
        if self._code not in (None, code):
            while self.cluster.task_managers:
                self.cluster.kill_task_manager(0)
        self._code = code
        missing = count - len(self.cluster.task_managers)
        if missing > 0:
            self.cluster.add_task_manager(missing)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    made = StandaloneCluster(1, SMALL)
    made.env.pop("PYTHONPATH")
    with made:
        yield Machines(made)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two releases' code, which lies there as long as task managers have it."""
    folder = tmp_path_factory.mktemp("releases")
    return {name: release(folder, name) for name in "ab"}


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

    def __init__(self, machines: Machines, streams: Streams, job: str, mode: str = "thread") -> None:
        self.machines, self.cluster = machines, machines.cluster
        self.streams, self.job, self.mode = streams, job, mode
        self.running = ""
        self.savepoint: str | None = None
        self._growing = streams.growing("results")
        self._found: list[dict[str, Any]] = []

    def start(self, code: Path, parallelism: int) -> None:
        # between the first release and the first model all records wait, on a slow machine for long
        buffer = json.dumps({"records": 10_000_000, "bytes": 1 << 40, "seconds": 900})
        settings = self.streams.arguments(
            kafka__exactly_once="true", mode=self.mode, parallelism=str(parallelism), buffer=buffer
        )
        self.machines.prepare(code, parallelism)
        self.running = self.cluster.run(
            code / "jobs" / self.job,
            *settings,
            savepoint=self.savepoint,
            parallelism=parallelism,
            pyfs=str(code),
        )
        self.cluster.wait_running(self.running, 300)

    def stop(self) -> None:
        self.savepoint = self.cluster.stop_with_savepoint(self.running)

    def close(self) -> None:
        """Leave the task managers to the next test, also where this one fails."""
        self._growing.close()
        if self.running:
            self.cluster.rest.cancel(self.running)

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

        wait_until(read, 300, lambda: "no micro-batch has reached the scoring operator")

    def wait_results(self, enough: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Return once the results that a read-committed reader sees are `enough`."""
        found = self._found

        def seen() -> bool:
            found.extend(map(orjson.loads, self._growing.more()))
            return enough(found)

        wait_until(seen, 300, lambda: f"{len(found)} results, the last {found[-1:]}\n{self.cluster.logs(15)}")

    def results(self) -> list[dict[str, Any]]:
        """All that a read-committed reader finds now."""
        return [orjson.loads(m.value() or b"") for m in self.streams.read("results")]


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
    kafka: KafkaBroker, machines: Machines, constants: dict[int, bytes], releases: dict[str, Path]
) -> None:
    a, b = releases["a"], releases["b"]
    streams = Streams(kafka)
    with closing(Upgrades(machines, streams, "serve_partitioned.py")) as job:
        with Feeder(streams, PER_SECOND) as feeder:
            job.start(a, 1)
            job.wait_read(20)  # there is no model yet: these batches travel in the savepoint
            job.stop()
            job.start(b, 4)
            job.publish(1, constants)
            job.wait_results(seen(1, "b"))
            job.stop()
            job.publish(2, constants)
            job.start(b, 2)
            job.wait_results(seen(2, "b"))
            job.publish(3, constants)
            job.wait_results(seen(3, "b"))
            sent = feeder.stop()
        job.wait_results(lambda results: len(results) >= sent)
        job.stop()
        check(job.results(), sent)
    assert streams.dead_letters() == []


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_types_of_records_change_their_home(
    kafka: KafkaBroker, machines: Machines, constants: dict[int, bytes], releases: dict[str, Path], mode: str
) -> None:
    code = releases["b"]
    streams = Streams(kafka, partitions=2, records=("wine", "tea", "rice", "oats"))
    with closing(Upgrades(machines, streams, "serve.py", mode)) as job:
        with Feeder(streams, PER_SECOND) as feeder:
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
        check(job.results(), sent)

        job.job = "serve_partitioned.py"  # would look for its models under other keys
        with pytest.raises(
            ServiceError, match=rf"of another kind \({mode} mode, by data type; this one: .* by instance"
        ):
            job.start(code, 3)
