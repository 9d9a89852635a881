"""The tracking job on the mini cluster: what a scoring job's folders tell is in the registry, once, however
often the job is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from devservices.process import ROOT, environment
from schemas.lifecycle.experiments import write_event
from schemas.lifecycle.quality import write_message
from schemas.results.records import DeadLetter, EventKind, decode, encode
from tests.onnx_models import dense
from tests.registered import event, experiment_event, quality, stats
from tests.whole_files import put
from udfs.io.folder_files import visible_files
from udfs.lifecycle.repository.served import served
from udfs.models.descriptor import build
from udfs.models.digest import digest_of
from udfs.stores.registry.models import ModelRegistry


def track(root: Path, *more: str) -> None:
    command = [
        sys.executable,
        str(ROOT / "jobs" / "track.py"),
        "--folder.root",
        str(root),
        "--bounded",
        "true",
    ]
    command += ["--registry", f"sqlite:///{root}/registry.db", "--job", "wine-serve", "--parallelism", "1"]
    command += ["--model-store", str(root / "store"), *more]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_jobs_tell_is_kept_and_told_again_changes_nothing(tmp_path: Path) -> None:
    content = dense(np.array([[1.0], [2.0]], np.float32))
    descriptor = build(
        data_type="wine", name="forest", model_type="ONNX", data=content, version=3, created_ms=5
    )
    told = [event(EventKind.SERVED, 100 + n, 3 + n, digest=digest_of(content).sha256) for n in range(3)]
    put(tmp_path / "models" / "1.model", descriptor)
    put(tmp_path / "model-events" / "day" / "part-0", b"\n".join([*map(encode, told), b"no event", b""]))
    usage = [encode(stats(100, at, digest=digest_of(content).sha256)) + b"\n" for at in (150, 200)]
    put(tmp_path / "model-stats" / "day" / "part-0", b"".join(usage))
    good = quality(9, 3, 1)
    put(tmp_path / "quality" / "day" / "part-0", write_message(good) + b"\nno quality\n")
    done = [experiment_event(kind, at) for at, kind in enumerate(("started", "rolled_back"))]
    put(tmp_path / "experiments" / "day" / "part-0", b"\n".join(map(write_event, done)))

    found = []
    for mode in ("thread", "process"):
        track(tmp_path, "--mode", mode)
        registry = ModelRegistry(f"sqlite:///{tmp_path}/registry.db")
        found.append((registry.models(), registry.events(), registry.statistics()))
    assert found[0] == found[1]
    models, events, statistics = found[0]
    assert [m.version for m in models if m.model_type == "ONNX"] == [3] and len(models) == 3
    assert [one for _, one in events] == told and {job for job, _ in events} == {"wine-serve"}
    assert [one.at for _, one in statistics] == [200]
    assert registry.quality("forest", 3, "wine") == [good]
    assert registry.experiments("forest") == done
    times = served(events, [])
    assert [(one.version, one.since, one.until) for one in times] == [
        (3, 100, 101),
        (4, 101, 102),
        (5, 102, None),
    ]
    (kept,) = ModelRegistry(f"sqlite:///{tmp_path}/registry.db").contents(models[0].digest)
    assert Path(kept.location.removeprefix("file://")).read_bytes() == content
    letters = [line for p in visible_files(tmp_path / "dead-letters") for line in p.read_bytes().splitlines()]
    assert {decode(DeadLetter, line).code for line in letters} == {"unparsable"} and len(letters) == 4
