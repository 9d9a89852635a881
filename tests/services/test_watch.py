"""Watching on a real cluster: sums of windows are those of a profile across a savepoint and another
parallelism, drift is told of, and a command runs for it, once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from confluent_kafka import Producer

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from millrace.kafka_stream import to_end
from schemas.lifecycle.alert_run import read_run
from schemas.lifecycle.window_statistics import WindowStatistics, read_window
from udfs.lifecycle.drift.alerts import DRIFT, read_alert
from udfs.lifecycle.statistics.table import read_statistics
from udfs.lifecycle.watching.window_messages import added_up

WINDOW, EACH, PARTITIONS = 60_000, 4_000, 4


def rows(seed: int, shift: float = 0.0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=EACH) + shift).tolist(), rng.integers(0, 9, EACH).tolist()
    colours = rng.choice(["red", "blue", None], EACH).tolist()  # type: ignore[arg-type]
    return [orjson.dumps({"x": a, "y": b, "c": c}) for a, b, c in zip(x, y, colours, strict=True)]


def test_sums_hold_across_a_savepoint_and_a_command_runs_once_for_drift(
    kafka: KafkaBroker, flink: StandaloneCluster, tmp_path: Path
) -> None:
    prefix = uuid.uuid4().hex[:8]
    records, statistics, alerts, came = (f"{prefix}-{n}" for n in ("wine", "statistics", "alerts", "came"))
    kafka.create_topics(records, partitions=PARTITIONS)
    kafka.create_topics(statistics, alerts, came)
    start = int(time.time() * 1000) // WINDOW * WINDOW - 20 * WINDOW
    sent = {number: rows(number, 1.0 if number >= 2 else 0.0) for number in range(4)}
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5})

    def send(number: int, lines: list[bytes], first: int = 0) -> None:
        for at, line in enumerate(lines, first):
            time_ms = start + number * WINDOW + at * WINDOW // EACH
            producer.produce(records, line, partition=at % PARTITIONS, timestamp=time_ms)
            producer.poll(0)
        assert producer.flush(60) == 0

    training, file = tmp_path / "train.jsonl", tmp_path / "wine.statistics"
    training.write_bytes(b"\n".join(sent[0] + sent[1]) + b"\n")
    made = [sys.executable, "-m", "millrace.cli", "profile", str(training), "--to", str(file)]
    subprocess.run(made, check=True, capture_output=True, cwd=ROOT)

    settings = {
        "name": f"watch-{prefix}",
        "watch": '["records"]',
        "checkpoint-seconds": "1",
        "window-seconds": "60",
        "idle": "5 s",
        "data-types": orjson.dumps({"wine": {"training": str(file)}}).decode(),
        "kafka.bootstrap": kafka.bootstrap,
        "kafka.group": prefix,
        "kafka.records": orjson.dumps({records: "wine"}).decode(),
        "kafka.statistics": statistics,
        "kafka.alerts": alerts,
        "kafka.exactly-once": "true",
    }

    def run(parallelism: int, savepoint: str | None) -> str:
        flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
        flags += ["--parallelism", str(parallelism)]
        job = flink.run(ROOT / "jobs" / "watch.py", *flags, savepoint=savepoint, parallelism=parallelism)
        flink.wait_running(job, 180)
        return job

    def windows() -> dict[int, list[WindowStatistics]]:
        found: dict[int, list[WindowStatistics]] = defaultdict(list)
        for _, value in to_end(kafka.bootstrap, statistics, {}, 30):
            one = read_window(value or b"")
            found[(one.start - start) // WINDOW].append(one)
        return found

    def wait_for(number: int) -> None:
        wait_until(lambda: number in windows(), 150, lambda: f"{sorted(windows())}\n{flink.logs(15)}")

    job = run(1, None)
    send(0, sent[0])
    send(1, sent[1][: EACH // 2])  # half of a window lies in the savepoint
    wait_for(0)
    job = run(2, flink.stop_with_savepoint(job))
    send(1, sent[1][EACH // 2 :], EACH // 2)
    for number in (2, 3):
        send(number, sent[number])
    send(4, sent[0][:PARTITIONS])
    wait_for(3)
    flink.stop_with_savepoint(job)

    told = windows()
    assert set(told) == {0, 1, 2, 3}
    same(added_up(told[0] + told[1]), read_statistics(file.read_bytes()))
    assert sum(one.rows for part in told.values() for one in part) == 4 * EACH
    found = [read_alert(value or b"") for _, value in to_end(kafka.bootstrap, alerts, {}, 30)]
    (drift,) = [alert for alert in found if alert.type == DRIFT]
    assert [one.feature for one in drift.drift] == ["x"] and drift.drift[0].direction == "up"
    assert drift.drift[0].since == start + 2 * WINDOW
    on_alert(kafka.bootstrap, alerts, came, tmp_path)


def same(found: Any, profile: Any) -> None:
    assert found.rows == profile.rows and found.features.keys() == profile.features.keys()
    for name, feature in profile.features.items():
        other = found.features[name]
        for field in ("rows", "absent", "nulls", "texts", "fractions", "bins", "frequent"):
            assert getattr(other, field) == getattr(feature, field), (name, field)
        assert other.number_counts.tolist() == feature.number_counts.tolist()
        assert other.text_counts.tolist() == feature.text_counts.tolist()
        assert (other.registers == feature.registers).all()
        assert other.numbers.mean == pytest.approx(feature.numbers.mean, rel=1e-9)
        assert other.numbers.squares == pytest.approx(feature.numbers.squares, rel=1e-9)


def on_alert(bootstrap: str, alerts: str, came: str, folder: Path) -> None:
    """Twice, with a log each: the second finds nothing that is not settled, until another alert comes."""
    script = folder / "train.sh"
    script.write_text(f'echo "$MILLRACE_ALERT_FEATURES" >> {folder}/told\n')
    base = [sys.executable, "-m", "millrace.cli", "on-alert", "--run", f"sh {script}", "--kind", "drift"]
    base += [
        "--bootstrap",
        bootstrap,
        "--topic",
        alerts,
        "--group",
        alerts,
        "--from-beginning",
        "--count",
        "1",
    ]
    base += ["--events-topic", came, "--debounce", "1", "--log"]
    subprocess.run([*base, str(folder / "one")], check=True, timeout=120, cwd=ROOT, env=os.environ)
    assert (folder / "told").read_text() == "x\n"
    states = [read_run(value or b"").state for _, value in to_end(bootstrap, came, {}, 30)]
    assert states == ["started", "done"]
