"""A serving job that wants signatures: what is not signed as it should be is told, and never scores."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import orjson

from devservices.process import ROOT, Process
from schemas.model_pb2 import ModelDescriptor
from schemas.results.records import EventKind, ModelEvent, decode
from schemas.results.results import read_result
from tests.models import constant_frozen_graph
from tests.signing_keys import KEY, OTHER, entry, keys_file, signer
from tests.whole_files import put
from udfs.io.folder_files import visible_files
from udfs.models.descriptor import build
from udfs.models.runtimes.base import PartialInput


def model(name: str, value: float) -> bytes:
    inputs = [PartialInput("x", None, None, ("a",))]
    return build(data_type="wine", name=name, version=1, data=constant_frozen_graph(value, 1), inputs=inputs)


def test_of_seven_publications_one_is_loaded(tmp_path: Path) -> None:
    root, keys = tmp_path / "root", keys_file(tmp_path, entry("release", KEY, ["wine"]))
    hour_ago = time.time_ns() - 3_600_000_000_000
    good = signer(audience=("test", "prod")).sign(model("good", 1.0))
    tampered = ModelDescriptor.FromString(signer().sign(model("tampered", 2.0)))
    tampered.data = constant_frozen_graph(3.0, 1)
    published = [
        good,
        good,  # once more
        model("unsigned", 2.0),
        tampered.SerializeToString(),
        signer(OTHER).sign(model("foreign", 2.0)),
        signer(now=lambda: hour_ago, valid_ms=60_000).sign(model("expired", 2.0)),
        signer(audience=("test",)).sign(model("elsewhere", 2.0)),
    ]
    for number, descriptor in enumerate(published):
        put(root / "models" / f"{number}.model", descriptor)
    put(root / "records" / "wine" / "a", orjson.dumps({"a": 1.0}) + b"\n")
    command = [
        sys.executable, ROOT / "jobs" / "serve.py", "--folder.root", root, "--checkpoint-seconds", "1",
        "--signing.require", "true", "--signing.keys", keys, "--signing.audience", "prod",
    ]  # fmt: skip
    job = Process("serve", command, tmp_path / "job.log")
    try:
        job.wait_ready(
            lambda: bool(visible_files(root / "results")) and len(_events(root)) >= len(published), 120
        )
    finally:
        job.stop()
    events = _events(root)
    refused = {event.name: event.reason.split(":")[0] for event in events if event.kind is EventKind.REFUSED}
    assert refused == {
        "good": "replayed",
        "unsigned": "unsigned",
        "tampered": "tampered",
        "foreign": "foreign key",
        "expired": "expired",
        "elsewhere": "wrong audience",
    }
    assert [(e.name, e.signer) for e in events if e.kind is EventKind.SERVED] == [("good", "release")]
    (result,) = (read_result(line) for p in visible_files(root / "results") for line in p.open("rb"))
    assert (result.model, result.signer, next(iter(result.scores.values()))) == ("good", "release", 1.0)
    assert len(events) == len(published), "nothing else was told of any"


def _events(root: Path) -> list[ModelEvent]:
    return [decode(ModelEvent, line) for p in visible_files(root / "model-events") for line in p.open("rb")]
