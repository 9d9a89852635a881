"""Results meet outcomes on the mini cluster, in both modes alike; the rows of the store are labels."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from devservices.process import ROOT, environment
from schemas.lifecycle.quality import ALL, EvidenceBatch, OutcomeCounts, QualityRecord, read_message
from tests.feature_cases import DECLARED
from tests.outcome_cases import outcome, result
from tests.whole_files import put
from udfs.io.folder_files import visible_files
from udfs.stores.registry.sql import SqlRegistry

COUNT, START = 2_000, 1_790_000_000_000
JUDGED = {"entity": "customer", "score": "p", "label": "bought", "time": "at", "fields": {"count": "int64"}}


Found = tuple[Counter[Any], dict[str, int], dict[str, float]]


def done(command: list[str], *more: str) -> None:
    """Run a job to its end."""
    found = subprocess.run(
        [*command, *more],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]


def run(root: Path, mode: str) -> Found:
    """Fates of the store's rows, those that are told of outcomes, and figures of quality since the start."""
    rng = random.Random(3)
    stamps = [{"experiments": {"e": {"arm": "ab"[n % 2], "step": 0}}} for n in range(COUNT)]
    results = [result(n, START + n, rng.random(), stamp=stamps[n], customer=f"c{n}") for n in range(COUNT)]
    outcomes = [outcome(n, START + n + 5, rng.random() < 0.5) for n in range(0, COUNT, 2)]
    outcomes += [*outcomes[:7], outcome(COUNT + 1, START)]  # again, and of nothing
    for name, messages in (("results", results), ("outcomes", outcomes)):
        put(root / name / "1.jsonl", b"".join(orjson.dumps(one) + b"\n" for one in messages))
    command = [sys.executable, str(ROOT / "jobs" / "outcomes.py"), "--folder.root", str(root)]
    command += ["--bounded", "true", "--parallelism", "1", "--mode", mode]
    command += ["--data-types", orjson.dumps({"wine": JUDGED}).decode(), "--store.url", str(root / "store")]
    done(command)

    def told_of(kind: type[Any], name: str) -> list[Any]:
        files = visible_files(root / name)
        return [read_message(kind, line) for path in files for line in path.read_bytes().splitlines()]

    counted = sorted(told_of(OutcomeCounts, "outcome-counts"), key=lambda c: c.at)
    newest = {one.key_group: one for one in counted}
    fates = Counter[str]()
    for counts in newest.values():
        fates.update(counts.outcomes)
    evidence = [
        (e, a)
        for one in told_of(EvidenceBatch, "evidence")
        for e, a in zip(one.entities, one.arms, strict=True)
    ]
    assert Counter(evidence) == Counter((f"c{n}", "ab"[n % 2]) for n in range(COUNT))
    since_start = [one for one in told_of(QualityRecord, "quality") if one.window == ALL]
    files = [str(path) for path in visible_files(root / "store")]
    rows = ds.dataset(files, format="parquet").to_table(["offset", "fate", "outcome"]).to_pylist()
    last = max(since_start, key=lambda one: one.at)
    return Counter(tuple(row.values()) for row in rows), dict(fates), last.figures


@pytest.fixture(scope="module")
def by_thread(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found]:
    """The job's folder, and what it settled."""
    root = tmp_path_factory.mktemp("thread")
    return root, run(root, "thread")


def test_both_modes_settle_the_same(by_thread: tuple[Path, Found], tmp_path: Path) -> None:
    _, (stored, fates, quality) = by_thread
    by_fate = Counter(fate for _, fate, _ in stored.elements())
    assert by_fate["joined"] == COUNT // 2 and sum(by_fate.values()) == COUNT
    assert fates["joined"] == COUNT // 2 and fates["duplicate"] == 7 and sum(fates.values()) == COUNT // 2 + 8
    assert (quality["predictions"], quality["outcomes"]) == (COUNT, COUNT // 2)
    again = run(tmp_path, "process")
    assert again[:2] == (stored, fates) and again[2] == pytest.approx(quality, rel=1e-9)


def test_the_store_is_labels_of_a_training_set(by_thread: tuple[Path, Found], tmp_path: Path) -> None:
    """Each prediction with what was known of its district at its time, beside its outcome."""
    root, (stored, _, _) = by_thread
    registry = SqlRegistry(f"sqlite:///{tmp_path}/registry.db")
    registry.apply(DECLARED)
    at = pa.array([START - 1000, START + COUNT // 2], pa.timestamp("ms", "UTC"))
    means = {"district": pa.array([3, 3]), "mean_price": [1.0, 2.0], "event_timestamp": at, "created": at}
    (tmp_path / "history" / "districts_v1" / "dt=2026-09-21").mkdir(parents=True)
    pq.write_table(pa.table(means), tmp_path / "history" / "districts_v1" / "dt=2026-09-21" / "part")
    command = [sys.executable, str(ROOT / "jobs" / "training_set.py"), "--labels", str(root / "store/wine")]
    command += ["--history", str(tmp_path / "history"), "--registry", f"sqlite:///{tmp_path}/registry.db"]
    command += ["--out", str(tmp_path / "set"), "--entities", '{"district": "count"}', "--parallelism", "1"]
    done(command, "--features", '["districts_v1:mean_price"]')
    files = [str(path) for path in visible_files(tmp_path / "set")]
    rows = ds.dataset(files, format="parquet").to_table().to_pylist()
    assert Counter((row["offset"], row["fate"], row["outcome"]) for row in rows) == stored
    assert {row["offset"]: row["mean_price"] for row in rows} == {
        n: 1.0 if n < COUNT // 2 else 2.0 for n in range(COUNT)
    }
