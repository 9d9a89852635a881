"""Watching on the mini cluster, in both modes: a sample is counted whole, and is the same one each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from devservices.process import ROOT, environment
from schemas.lifecycle.window_statistics import read_window
from tests.whole_files import put
from udfs.io.folder_files import visible_files
from udfs.lifecycle.statistics.profile import profile
from udfs.lifecycle.watching.window_messages import added_up

SHARE, COUNT, HOUR = 0.2, 5_000, 1_790_000_000_000 // 3_600_000 * 3_600_000
PARTS = ("a.jsonl", "b.jsonl")


def in_sample(offset: int) -> bool:
    """Whether the line of a file, which is partition 0, is of the sample: see MicroBatcher.java."""
    return (offset * 0x9E3779B97F4A7C15) % 2**64 >> 32 < int(SHARE * 2**32)


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_sample_is_counted_whole(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(5)
    rows = [{"at": HOUR + k, "x": x} for k, x in enumerate(rng.normal(size=COUNT).tolist())]
    for name in PARTS:
        put(tmp_path / "records" / "wine" / name, b"".join(orjson.dumps(row) + b"\n" for row in rows))
    command = [sys.executable, str(ROOT / "jobs" / "watch.py"), "--folder.root", str(tmp_path)]
    command += ["--bounded", "true", "--parallelism", "1", "--mode", mode, "--watch", '["records"]']
    command += ["--sample", str(SHARE), "--window-seconds", "3600"]
    command += ["--data-types", '{"wine": {"time_field": "at"}}']
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for p in visible_files(tmp_path / "statistics") for line in p.read_bytes().splitlines()]
    told = [read_window(line) for line in lines]
    assert {(one.data_type, one.start, one.sample) for one in told} == {("wine", HOUR, SHARE)}
    found = added_up(told)
    chosen = [row for offset, row in enumerate(rows) if in_sample(offset)]
    assert 0.15 * COUNT < len(chosen) < 0.25 * COUNT
    wanted = profile(lambda: [chosen * len(PARTS)])
    assert found.rows == wanted.rows
    for name in ("x", "at"):
        assert found.features[name].numbers.count == wanted.features[name].numbers.count
        assert (found.features[name].registers == wanted.features[name].registers).all()
