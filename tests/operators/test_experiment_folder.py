"""The controller on the mini cluster: killed on its way, it goes on, and each plan is written once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devservices.process import ROOT, Process, wait_until
from schemas.lifecycle.experiments import ExperimentEvent, read_event
from schemas.lifecycle.quality import write_message
from schemas.model_pb2 import ModelDescriptor
from schemas.plans.plan import Only, Split, read_plan
from schemas.results.records import EventKind, ModelEvent, decode
from tests.experiment_evidence import DECLARED, evidence
from tests.signing_keys import KEY, entry, keys_file
from tests.whole_files import put
from udfs.io.folder_files import visible_files
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.models.descriptor import DECIDE, EXPERIMENT, Publication, build, parse

VERSION = 1_700_000_000_000


class Job:
    """`jobs/experiment.py` on a folder. What it reads stays, and what it has written is read by its files."""

    def __init__(self, root: Path, *arguments: str) -> None:
        self.root, self._arguments, self._process = root, arguments, None
        for name in ("models", "evidence"):
            (root / name).mkdir()

    def start(self) -> None:
        flink = {"restart-strategy.type": "none", "rest.bind-port": "0"}
        flink |= {"execution.checkpointing.dir": (self.root / "checkpoints").as_uri()}
        flink |= {"execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION"}
        found = [(int(p.parent.name[4:]), p.parent) for p in self.root.glob("checkpoints/*/chk-*/_metadata")]
        if found:
            flink["execution.state-recovery.path"] = max(found)[1].as_uri()
        command = [sys.executable, ROOT / "jobs" / "experiment.py", "--folder.root", self.root]
        command += ["--parallelism", "1", "--stats-seconds", "1", "--flink", json.dumps(flink)]
        self._process = Process("experiment", [*command, *self._arguments], self.root / "job.log", {})

    def kill(self) -> None:
        self._process.kill()

    def order(self, order: Order) -> None:
        text = write_order(order)
        descriptor = build(
            data_type="wine", name="wine-v4", version=VERSION, operation=EXPERIMENT, experiment=text
        )
        put(self.root / "models" / f"{VERSION}-order.model", descriptor)

    def publish_with_a_broken_signature(self) -> None:
        message = ModelDescriptor.FromString(
            build(data_type="wine", name="stranger", version=1, operation=EXPERIMENT, experiment="{}")
        )
        message.bundle = b"{"
        put(self.root / "models" / "1-stranger.model", message.SerializeToString())

    def show(self, k: int, right: float) -> None:
        step = read_plan(self.plans()[-1].plan).experiment
        assert isinstance(step, Split)
        message = write_message(evidence(k * 200, 200, step.step, right))
        put(self.root / "evidence" / f"{k:04}.jsonl", message + b"\n")

    def plans(self) -> list[Publication]:
        """By version; each is in a file of its own."""
        found = [parse(path.read_bytes()) for path in visible_files(self.root / "models")]
        return sorted((one for one in found if one.operation == DECIDE), key=lambda one: one.version)

    def events(self) -> list[ExperimentEvent]:
        lines = [
            line for p in visible_files(self.root / "experiments") for line in p.read_bytes().splitlines()
        ]
        return sorted(map(read_event, lines), key=lambda event: (event.at, event.plan_version))

    def model_events(self) -> list[ModelEvent]:
        files = visible_files(self.root / "model-events")
        return [decode(ModelEvent, line) for p in files for line in p.read_bytes().splitlines()]

    def until(self, probe) -> None:
        process = self._process
        wait_until(lambda: process.exit_code is not None or probe(), 240, lambda: process.tail(30))
        assert process.exit_code is None, process.tail(30)


@pytest.fixture(params=["thread", "process"])
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Job]:
    keys = keys_file(tmp_path, entry("release", KEY))
    made = Job(tmp_path, "--mode", request.param, "--signing.keys", str(keys))
    yield made
    made.kill()


def test_killed_on_its_way_it_decides_once(job: Job) -> None:
    job.order(Order("start", DECLARED))
    job.publish_with_a_broken_signature()
    job.start()
    job.until(job.plans)
    k, killed = 0, False
    while isinstance(read_plan(job.plans()[-1].plan).experiment, Split):
        if len(job.plans()) == 2 and not killed:
            job.kill()
            killed = True
            job.start()
        job.show(k, 0.92)
        taken = (k + 1) * 200
        job.until(lambda entities=taken: any(e.entities >= entities for e in job.events()))
        k += 1
    assert killed
    assert [one.version - VERSION for one in job.plans()] == [0, 1, 2, 3]
    assert read_plan(job.plans()[-1].plan).route == Only(("new",))
    kinds = [event.kind for event in job.events() if event.kind != "progress"]
    assert kinds == ["started", "step", "step", "promoted"]
    assert {(e.name, e.kind, e.step) for e in job.model_events()} == {
        ("stranger", EventKind.REFUSED, "signature")
    }
