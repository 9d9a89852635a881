"""Two serving jobs share a data type by the arms of an experiment, on the mini cluster: each record once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import orjson

from devservices.process import ROOT, Process, wait_until
from schemas.plans.plan import write_plan
from schemas.results.records import ModelToServeStats, decode
from schemas.results.results import Scored, read_result
from tests.models import constant_frozen_graph
from tests.whole_files import put
from udfs.io.folder_files import visible_files
from udfs.lifecycle.experiments.arm_plans import plan_of_step
from udfs.lifecycle.experiments.assignment import treated
from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric
from udfs.models.descriptor import DECIDE, build
from udfs.models.runtimes.base import PartialInput

DECLARED = Experiment(
    name="wine-v4",
    data_type="wine",
    entity="user",
    arms={"control": Arm("old"), "treatment": Arm("new")},
    primary=Metric("correct"),
    ramp=(1.0,),
)
RECORDS = [b'{"a":1.0,"user":%d}' % k for k in range(300)] + [b'{"a":1.0}', b"no record"]


def model(name: str, value: float) -> bytes:
    inputs = [PartialInput("x", None, None, ("a",))]
    return build(data_type="wine", name=name, version=1, data=constant_frozen_graph(value, 1), inputs=inputs)


def run(root: Path, job: str, mode: str, sharing: dict[str, object]) -> None:
    """Read to the end what is put here. The plan is there before the models, which records wait for."""
    plan = write_plan(plan_of_step(DECLARED, 0)).decode()
    put(
        root / "models" / "0.model",
        build(data_type="wine", name="wine-v4", version=1, operation=DECIDE, plan=plan),
    )
    put(root / "models" / "1.model", model("old", 1.0))
    put(root / "models" / "2.model", model("new", 2.0))
    put(root / "records" / "wine" / "a", b"\n".join(RECORDS) + b"\n")
    command = [
        sys.executable, ROOT / "jobs" / f"{job}.py", "--folder.root", root, "--bounded", "true",
        "--mode", mode, "--parallelism", "1", "--sharing", json.dumps({"wine": sharing}),
    ]  # fmt: skip
    process = Process(job, command, root / "job.log")
    try:
        wait_until(lambda: process.exit_code is not None, 240, lambda: process.tail(30))
        assert process.exit_code == 0, process.tail(30)
    finally:
        process.stop()


def results(root: Path) -> list[Scored]:
    return [read_result(line) for p in visible_files(root / "results") for line in p.open("rb")]


def test_each_record_is_scored_by_the_job_of_its_arm(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    run(old, "serve", "thread", {"model": "old", "undivided": True})
    run(new, "serve_partitioned", "process", {"model": "new"})
    in_treatment = treated(DECLARED, [b"%d" % k for k in range(300)], 0).tolist()
    for root, name, arm, value in ((old, "old", "control", 1.0), (new, "new", "treatment", 2.0)):
        found = [r for r in results(root) if "user" in r.record]
        assert [r.record["user"] for r in found] == [
            k for k in range(300) if in_treatment[k] is (arm == "treatment")
        ]
        assert {(r.model, next(iter(r.scores.values())), r.experiments["wine-v4"]) for r in found} == {
            (name, value, (arm, 0))
        }
    (without,) = (r for root in (old, new) for r in results(root) if "user" not in r.record)
    assert (without.model, dict(without.experiments)) == ("old", {})
    letters = [
        [orjson.loads(one) for p in visible_files(r / "dead-letters") for one in p.open("rb")]
        for r in (old, new)
    ]
    assert [len(some) for some in letters] == [1, 0]
    for root in (old, new):
        stats = [
            decode(ModelToServeStats, one)
            for p in visible_files(root / "model-stats")
            for one in p.open("rb")
        ]
        assert stats[-1].left == len(RECORDS) - len(results(root)) - (root == old)
