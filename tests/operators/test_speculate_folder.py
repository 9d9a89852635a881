"""The speculating job on the mini cluster: each record once, and decided as the pure functions decide."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from devservices.process import ROOT, Process, wait_until
from schemas.plans.plan import read_plan
from schemas.results.decided import Decided, read_decided
from schemas.results.records import CandidateStats, DeadLetter, EventKind, ModelEvent, decode
from tests.models import constant_frozen_graph, constant_saved_model, zipped
from tests.whole_files import put
from udfs.ensemble.policies.replay import redecide
from udfs.io.folder_files import visible_files
from udfs.models.descriptor import DECIDE, build
from udfs.models.runtimes.base import PartialInput

PLAN = {
    "policy": {"policy": "median", "output": "y", "least": 2, "otherwise": {"policy": "first"}},
    "route": {"route": "rules", "rules": [{"when": "record.a >= 1000.0", "candidates": ["three"]}]},
}
VALUES = {"one": 1.0, "two": 2.0, "three": 5.0}
GARBAGE = b"no record"


class Job:
    """`jobs/speculate.py` on a folder, with three models that answer a constant."""

    def __init__(self, root: Path, *arguments: str) -> None:
        self.root = root
        self.faults = root / "faults.json"
        self.places: list[tuple[str, int]] = []
        """Of all that has been written: file below the records' folder, and line."""
        self.plan = ""
        (root / "records" / "wine").mkdir(parents=True)
        command = [
            sys.executable,
            ROOT / "jobs" / "speculate.py",
            "--folder.root",
            root,
            "--parallelism",
            "1",
        ]
        command += [
            "--executors.model-types",
            '["TENSORFLOW", "TENSORFLOWSAVED"]',
            "--executors.fault-injection",
            self.faults,
        ]
        self._command = [*command, "--checkpoint-seconds", "1", "--stats-seconds", "1", *arguments]
        self.process: Process | None = None

    def start(self, checkpoint: Path | None = None) -> None:
        """From the checkpoint, where one is given."""
        flink = {"restart-strategy.type": "none", "rest.bind-port": "0"}
        flink |= {"execution.checkpointing.dir": (self.root / "checkpoints").as_uri()}
        flink |= {"execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION"}
        if checkpoint is not None:
            flink |= {"execution.state-recovery.path": checkpoint.as_uri()}
        command = [*self._command, "--flink", json.dumps(flink)]
        self.process = Process("speculate", command, self.root / "job.log", {})

    def checkpoint(self) -> tuple[int, Path | None]:
        """The last one that is complete: its number, which begins at 1."""
        found = [(int(p.parent.name[4:]), p.parent) for p in self.root.glob("checkpoints/*/chk-*/_metadata")]
        return max(found, default=(0, None))

    def publish(self, deadline_ms: int = 400) -> None:
        models = self.root / "models"
        models.mkdir()
        inputs = (PartialInput("x", fields=("a", "b")),)
        self.plan = json.dumps({**PLAN, "deadline_ms": deadline_ms})
        descriptors = [
            build(data_type="wine", name="plan", operation=DECIDE, plan=self.plan, version=1, created_ms=1)
        ]
        for name, value in VALUES.items():
            kind, data = "TENSORFLOW", constant_frozen_graph(value)
            if name == "two":
                kind, data = "TENSORFLOWSAVED", zipped(constant_saved_model(self.root / "two", value))
            descriptors.append(
                build(
                    data_type="wine",
                    name=name,
                    model_type=kind,
                    data=data,
                    inputs=inputs,
                    version=1,
                    created_ms=2,
                )
            )
        for number, descriptor in enumerate(descriptors):
            put(models / f"{number}.model", descriptor)

    def write(self, records: Sequence[bytes]) -> None:
        name = f"wine/{len(self.places):06}.jsonl"
        put(self.root / "records" / name, b"".join(record + b"\n" for record in records))
        self.places += [(name, line) for line in range(len(records))]

    @property
    def written(self) -> int:
        return len(self.places)

    def lines(self, output: str) -> list[bytes]:
        return [line for p in visible_files(self.root / output) for line in p.read_bytes().splitlines()]

    def results(self) -> list[Decided]:
        return [read_decided(line) for line in self.lines("results")]

    def dead(self) -> list[DeadLetter]:
        return [decode(DeadLetter, line) for line in self.lines("dead-letters")]

    def events(self) -> set[tuple[str, EventKind]]:
        return {(e.name, e.kind) for e in (decode(ModelEvent, x) for x in self.lines("model-events"))}

    def stats(self) -> list[CandidateStats]:
        lines = [line for line in self.lines("model-stats") if b'"candidate"' in line]
        return [decode(CandidateStats, line) for line in lines]

    def until(self, probe: Callable[[], bool], seconds: float = 300) -> None:
        process = self.process
        assert process is not None
        wait_until(lambda: process.exit_code is not None or probe(), seconds, lambda: process.tail(30))
        assert process.exit_code is None or probe(), process.tail(30)

    def check_all(self) -> None:
        """Each record came out once, and each decision can be made again from the answers it names."""
        results, dead = self.results(), self.dead()
        places = [(r.result.source, r.result.offset) for r in results]
        places += [(letter.source, letter.offset) for letter in dead]
        assert sorted(places) == self.places
        plan = read_plan(self.plan)
        for result, again in zip(results, redecide(results, plan), strict=True):
            assert (result.plan, result.plan_version) == ("plan", 1)
            assert (again.by, again.rule, dict(again.scores)) == (
                result.result.model,
                result.rule,
                result.result.scores,
            )


@pytest.fixture
def job(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Job]:
    made = Job(tmp_path, *getattr(request, "param", ()))
    yield made
    if made.process is not None:
        made.process.stop(5)


def records(first: int, count: int, b: float | None = 2.0) -> list[bytes]:
    more = {} if b is None else {"b": b}
    return [json.dumps({"id": n, "a": float(n), **more}).encode() for n in range(first, first + count)]


def test_candidates_race_and_the_collector_decides(job: Job) -> None:
    job.publish()
    job.start()
    served = {(name, EventKind.SERVED) for name in VALUES} | {("plan", EventKind.DECIDES)}
    job.until(lambda: job.events() >= served)
    job.write([*records(0, 200), GARBAGE, *records(200, 1, b=None), *records(1000, 98)])
    job.until(lambda: len(job.results()) + len(job.dead()) >= job.written)
    job.check_all()
    assert {(letter.offset, letter.code) for letter in job.dead()} == {
        (200, "unparsable"),
        (201, "missing_field"),
    }
    decided = [(r.result.record["a"] >= 1000, r.rule, r.result.model, r.result.scores) for r in job.results()]
    assert decided.count((False, "median", "", {"y": 2.0})) > 0
    assert decided.count((True, "first", "three", {"y": 5.0})) > 0

    # One candidate gets slow: the others decide at the deadline, without it.
    job.faults.write_text('{"three": 2000}')
    n = 2000

    def three_is_late() -> bool:
        nonlocal n
        job.write([json.dumps({"id": n, "a": 0.0, "b": 1.0}).encode()])
        n += 1
        time.sleep(0.1)  # the pace of the records, not a wait
        return any(r.answers.get("three") and r.answers["three"].outcome == "late" for r in job.results())

    job.until(three_is_late)
    job.until(lambda: len(job.results()) + len(job.dead()) >= job.written)
    job.check_all()
    late = [r for r in job.results() if "three" in r.answers and r.answers["three"].outcome == "late"]
    assert {(r.rule, r.result.scores["y"]) for r in late if r.result.scores} <= {
        ("median", 1.5),
        ("first", 1.0),
        ("first", 2.0),
    }
    assert ("median", 1.5) in {(r.rule, r.result.scores.get("y")) for r in late}
    job.until(lambda: any(s.candidate == "three" and s.late for s in job.stats()))


@pytest.mark.parametrize("job", [("--bounded", "true")], indirect=True)
def test_finite_input_comes_out_whole(job: Job) -> None:
    job.publish()
    job.write([*records(0, 1500), GARBAGE, *records(1000, 30)])
    job.start()
    assert job.process is not None
    process = job.process
    wait_until(lambda: process.exit_code is not None, 300, lambda: process.tail(30))
    assert process.exit_code == 0, process.tail(30)
    job.check_all()
    assert {letter.code for letter in job.dead()} == {"unparsable"}


def test_what_was_in_flight_is_decided_after_a_restore_and_nothing_twice(job: Job) -> None:
    job.publish(deadline_ms=4000)
    job.faults.write_text('{"three": 3000}')
    job.start()
    job.until(lambda: job.events() >= {(name, EventKind.SERVED) for name in VALUES})
    before = job.checkpoint()[0]
    while job.checkpoint()[0] < before + 4:  # the third candidate is asked all the time, and never back
        job.write(records(job.written, 20))
        time.sleep(0.1)  # the pace of the records, not a wait
    assert job.process is not None
    job.process.kill()
    _, checkpoint = job.checkpoint()
    restored = len(job.results())
    assert restored < job.written
    job.start(checkpoint)
    job.until(lambda: len(job.results()) >= job.written)
    last = job.checkpoint()[0]
    job.until(lambda: job.checkpoint()[0] > last + 1)  # what should not come would be seen now
    job.check_all()
    # Micro-batches in the collector's state were decided late, by the answers that lay there with them.
    held = [r for r in job.results() if r.result.ms > 4000 + 1000]
    assert held, "no micro-batch was in flight when the job was killed"
    assert ("median", 1.5) in {(r.rule, r.result.scores.get("y")) for r in held}
