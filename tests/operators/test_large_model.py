"""A model larger than the 5 MB of state that Flink keeps of an operator in memory, in an embedded run."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from devservices.process import ROOT, Process
from schemas.results.records import Outcome
from schemas.results.results import read_result
from tests import models
from tests.whole_files import put
from udfs.io.folder_files import visible_files
from udfs.models.descriptor import build


def test_its_checkpoints_succeed(tmp_path: Path) -> None:
    weights = models.layers(3, (2, 400_000, 2))
    data = models.zipped(models.saved_model(tmp_path / "net", weights))
    assert len(data) > 5 << 20
    root = tmp_path / "root"
    descriptor = build(data_type="wine", name="net", model_type="TENSORFLOWSAVED", version=1, data=data)
    put(root / "models" / "net.model", descriptor)
    put(root / "records" / "wine" / "a", orjson.dumps({"x": [1, 2]}) + b"\n")
    command = [sys.executable, ROOT / "jobs" / "serve.py", "--folder.root", root, "--checkpoint-seconds", "1"]
    job = Process("serve", command, tmp_path / "job.log")
    try:
        # results are visible when a checkpoint that covers them is complete
        job.wait_ready(lambda: bool(visible_files(root / "results")), 120)
    finally:
        job.stop()
    (result,) = (read_result(line) for p in visible_files(root / "results") for line in p.open("rb"))
    assert (result.outcome, result.model) == (Outcome.SCORED, "net")
