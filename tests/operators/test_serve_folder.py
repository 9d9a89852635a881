"""A serving job on a folder that wants signatures: what is not signed as it should be is told, and never
scores; and a model larger than the 5 MB of state that Flink keeps of an operator in memory scores."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import orjson
import pytest

from devservices.process import ROOT, Process
from schemas.model_pb2 import ModelDescriptor
from schemas.results.records import EventKind, ModelEvent, Outcome, decode
from schemas.results.results import Scored, read_result
from tests import models
from tests.signing_keys import KEY, OTHER, entry, keys_file, signer
from tests.whole_files import put
from udfs.io.folder_files import visible_files
from udfs.models.descriptor import build
from udfs.models.runtimes.base import PartialInput


def model(name: str, value: float) -> bytes:
    inputs, data = [PartialInput("x", None, None, ("a",))], models.constant_frozen_graph(value, 1)
    return build(data_type="wine", name=name, version=1, data=data, inputs=inputs)


def publications() -> list[bytes]:
    """Seven of wine, one of which is to be loaded."""
    hour_ago = time.time_ns() - 3_600_000_000_000
    good = signer(audience=("test", "prod")).sign(model("good", 1.0))
    tampered = ModelDescriptor.FromString(signer().sign(model("tampered", 2.0)))
    tampered.data = models.constant_frozen_graph(3.0, 1)
    return [
        good,
        good,  # once more
        model("unsigned", 2.0),
        tampered.SerializeToString(),
        signer(OTHER).sign(model("foreign", 2.0)),
        signer(now=lambda: hour_ago, valid_ms=60_000).sign(model("expired", 2.0)),
        signer(audience=("test",)).sign(model("elsewhere", 2.0)),
    ]


def large(folder: Path) -> bytes:
    data = models.zipped(models.saved_model(folder, models.layers(3, (2, 400_000, 2))))
    assert len(data) > 5 << 20
    kind = "TENSORFLOWSAVED"
    return signer().sign(build(data_type="large", name="net", model_type=kind, version=1, data=data))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job that has scored a record of each type."""
    folder = tmp_path_factory.mktemp("signed")
    root, keys = folder / "root", keys_file(folder, entry("release", KEY, ["wine", "large"]))
    published = [*publications(), large(folder / "net")]
    for number, descriptor in enumerate(published):
        put(root / "models" / f"{number}.model", descriptor)
    put(root / "records" / "wine" / "a", orjson.dumps({"a": 1.0}) + b"\n")
    put(root / "records" / "large" / "a", orjson.dumps({"x": [1, 2]}) + b"\n")
    command = [
        sys.executable, ROOT / "jobs" / "serve.py", "--folder.root", root, "--checkpoint-seconds", "1",
        "--signing.require", "true", "--signing.keys", keys, "--signing.audience", "prod",
    ]  # fmt: skip
    job = Process("serve", command, folder / "job.log")
    try:
        # results are visible when a checkpoint that covers them is complete
        job.wait_ready(lambda: len(results(root)) >= 2 and len(events(root)) >= len(published), 120)
    finally:
        job.stop()
    return root


def test_of_seven_publications_one_is_loaded(root: Path) -> None:
    told = [event for event in events(root) if event.data_type == "wine"]
    refused = {event.name: event.reason.split(":")[0] for event in told if event.kind is EventKind.REFUSED}
    assert refused == {
        "good": "replayed",
        "unsigned": "unsigned",
        "tampered": "tampered",
        "foreign": "foreign key",
        "expired": "expired",
        "elsewhere": "wrong audience",
    }
    assert [(e.name, e.signer) for e in told if e.kind is EventKind.SERVED] == [("good", "release")]
    (result,) = (one for one in results(root) if one.data_type == "wine")
    assert (result.model, result.signer, next(iter(result.scores.values()))) == ("good", "release", 1.0)
    assert len(told) == len(publications()), "nothing else was told of any"


def test_checkpoints_with_a_large_model_succeed(root: Path) -> None:
    (result,) = (one for one in results(root) if one.data_type == "large")
    assert (result.outcome, result.model) == (Outcome.SCORED, "net")


def events(root: Path) -> list[ModelEvent]:
    return [decode(ModelEvent, line) for p in visible_files(root / "model-events") for line in p.open("rb")]


def results(root: Path) -> list[Scored]:
    return [read_result(line) for p in visible_files(root / "results") for line in p.open("rb")]
