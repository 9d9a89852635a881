"""The controller on the mini cluster: killed on its way, it goes on, and each plan is written once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from devservices.process import ROOT, Process, wait_until
from schemas.lifecycle.experiments import ExperimentEvent, read_event
from schemas.lifecycle.quality import write_message
from schemas.model_pb2 import ModelDescriptor
from schemas.plans.plan import Only, Split, read_plan
from schemas.results.records import EventKind, ModelEvent, decode
from tests.experiment_evidence import DECLARED, VERSION, evidence, started
from tests.signing_keys import KEY, entry, keys_file
from tests.whole_files import put
from udfs.io.folder_files import visible_files
from udfs.lifecycle.experiments.declaration import Arm, Experiment
from udfs.models.descriptor import DECIDE, EXPERIMENT, Publication, build, parse


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

    def start_experiment(self, declared: Experiment) -> None:
        put(self.root / "models" / f"{VERSION}-{declared.name}.model", started(declared))

    def publish_with_a_broken_signature(self) -> None:
        message = ModelDescriptor.FromString(
            build(data_type="wine", name="stranger", version=1, operation=EXPERIMENT, experiment="{}")
        )
        message.bundle = b"{"
        put(self.root / "models" / "1-stranger.model", message.SerializeToString())

    def show(self, k: int, right: float, declared: Experiment = DECLARED) -> int:
        """Evidence about 200 entities, or those of them that are the experiment's: how many."""
        (step,) = (s.step for s in self.splits() if s.name == declared.name)
        batch = evidence(k * 200, 200, step, right, declared)
        put(self.root / "evidence" / f"{k:04}-{declared.name}.jsonl", write_message(batch) + b"\n")
        return len(batch.entities)

    def splits(self) -> tuple[Split, ...]:
        """Of the plan in force."""
        return read_plan(self.plans()[-1].plan).splits

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


@pytest.fixture
def in_threads(tmp_path: Path) -> Iterator[Job]:
    made = Job(tmp_path, "--mode", "thread")
    yield made
    made.kill()


@pytest.fixture(params=["thread", "process"])
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Job]:
    keys = keys_file(tmp_path, entry("release", KEY))
    made = Job(tmp_path, "--mode", request.param, "--signing.keys", str(keys))
    yield made
    made.kill()


def test_killed_on_its_way_it_decides_once(job: Job) -> None:
    job.start_experiment(DECLARED)
    job.publish_with_a_broken_signature()
    job.start()
    job.until(job.plans)
    k, killed = 0, False
    while job.splits():
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


def test_two_at_once_are_each_judged_and_ended_by_themselves(in_threads: Job) -> None:
    job = in_threads
    better = replace(DECLARED, name="better", population=(0.0, 0.5))
    worse = replace(
        DECLARED,
        name="worse",
        population=(0.5, 1.0),
        arms={"control": DECLARED.arms["control"], "treatment": Arm("third", 1)},
    )
    right, taken = {"better": 0.92, "worse": 0.4}, {"better": 0, "worse": 0}
    for one in (better, worse):
        job.start_experiment(one)
    job.start()
    job.until(lambda: job.plans() and len(job.splits()) == 2)
    k, killed = 0, False
    while job.splits():
        running = [one for one in (better, worse) if one.name in {s.name for s in job.splits()}]
        if k == 2:
            job.kill()
            killed = True
            job.start()
        for one in running:
            taken[one.name] += job.show(k, right[one.name], one)
        job.until(
            lambda names=[one.name for one in running]: all(
                any(e.experiment == name and e.entities >= taken[name] for e in job.events())
                for name in names
            )
        )
        k += 1
    assert killed
    plans = [(one.name, one.version - VERSION) for one in job.plans()]
    assert plans == [("experiments", k) for k in range(len(plans))]
    assert read_plan(job.plans()[-1].plan).route == Only(("new",))
    kinds = {
        one: [e.kind for e in job.events() if e.experiment == one and e.kind != "progress"] for one in right
    }
    assert kinds["better"] == ["started", "step", "step", "promoted"]
    assert kinds["worse"][0] == "started" and kinds["worse"][-1] == "rolled_back"
