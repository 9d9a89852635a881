"""Watching on a real cluster: sums of windows are those of a profile across a savepoint, another parallelism
and the death of a task manager; drift is told of, and a command runs for it, once."""

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
HALF = EACH // 2


def rows(seed: int, shift: float = 0.0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=EACH) + shift).tolist(), rng.integers(0, 9, EACH).tolist()
    colours = rng.choice(["red", "blue", None], EACH).tolist()  # type: ignore[arg-type]
    return [orjson.dumps({"x": a, "y": b, "c": c}) for a, b, c in zip(x, y, colours, strict=True)]


class Watching:
    """`jobs/watch.py` on topics of its own."""

    def __init__(self, kafka: KafkaBroker, flink: StandaloneCluster, training: Path, mode: str) -> None:
        self._kafka, self._flink, self._training, self._mode = kafka, flink, training, mode
        self._prefix = uuid.uuid4().hex[:8]
        kafka.create_topics(self.topic("wine"), partitions=PARTITIONS)
        kafka.create_topics(*map(self.topic, ("statistics", "alerts", "came")))
        self.start = int(time.time() * 1000) // WINDOW * WINDOW - 20 * WINDOW
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5})

    def topic(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def send(self, number: int, lines: list[bytes], first: int = 0) -> None:
        """Records of a window, the first of which is its `first`."""
        for at, line in enumerate(lines, first):
            time_ms = self.start + number * WINDOW + at * WINDOW // EACH
            self._producer.produce(self.topic("wine"), line, partition=at % PARTITIONS, timestamp=time_ms)
            self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def run(self, parallelism: int, savepoint: str | None = None) -> str:
        settings = {
            "name": f"watch-{self._prefix}",
            "mode": self._mode,
            "watch": '["records"]',
            "checkpoint-seconds": "1",
            "window-seconds": "60",
            "idle": "5 s",
            "data-types": orjson.dumps({"wine": {"training": str(self._training)}}).decode(),
            "kafka.bootstrap": self._kafka.bootstrap,
            "kafka.group": self._prefix,
            "kafka.records": orjson.dumps({self.topic("wine"): "wine"}).decode(),
            "kafka.statistics": self.topic("statistics"),
            "kafka.alerts": self.topic("alerts"),
            "kafka.exactly-once": "true",
            "parallelism": str(parallelism),
        }
        flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
        job_file = ROOT / "jobs" / "watch.py"
        job = self._flink.run(job_file, *flags, savepoint=savepoint, parallelism=parallelism)
        self._flink.wait_running(job, 180)
        return job

    def windows(self) -> dict[int, list[WindowStatistics]]:
        """What was told, by the number of the window."""
        found: dict[int, list[WindowStatistics]] = defaultdict(list)
        for _, value in to_end(self._kafka.bootstrap, self.topic("statistics"), {}, 30):
            one = read_window(value or b"")
            found[(one.start - self.start) // WINDOW].append(one)
        return found

    def wait_for(self, number: int) -> None:
        wait_until(
            lambda: number in self.windows(), 150, lambda: f"{sorted(self.windows())}\n{self._flink.logs(15)}"
        )


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_sums_hold_whatever_happens_and_a_command_runs_once_for_drift(
    kafka: KafkaBroker, flink: StandaloneCluster, tmp_path: Path, mode: str
) -> None:
    sent = {number: rows(number, 1.0 if number >= 2 else 0.0) for number in range(4)}
    training, file = tmp_path / "train.jsonl", tmp_path / "wine.statistics"
    training.write_bytes(b"\n".join(sent[0] + sent[1]) + b"\n")
    made = [sys.executable, "-m", "millrace.cli", "profile", str(training), "--to", str(file)]
    subprocess.run(made, check=True, capture_output=True, cwd=ROOT)
    watching = Watching(kafka, flink, file, mode)

    job = watching.run(1)
    watching.send(0, sent[0])
    watching.send(1, sent[1][:HALF])
    watching.wait_for(0)
    job = watching.run(2, flink.stop_with_savepoint(job))  # half of a window is in the savepoint
    watching.send(1, sent[1][HALF:], HALF)
    watching.send(2, sent[2][:HALF])
    watching.wait_for(1)
    flink.kill_task_manager(0)  # half of a window is in the checkpoint
    watching.send(2, sent[2][HALF:], HALF)
    flink.add_task_manager()
    watching.send(3, sent[3])
    watching.send(
        4, sent[0][:PARTITIONS], HALF
    )  # later than window 3 by more than records may be out of order
    watching.wait_for(3)
    assert flink.rest.exceptions(job), "the job has not noticed that its task manager died"
    flink.stop_with_savepoint(job)

    told = watching.windows()
    assert set(told) == {0, 1, 2, 3}
    check_same(added_up(told[0] + told[1]), read_statistics(file.read_bytes()))
    assert sum(one.rows for part in told.values() for one in part) == 4 * EACH
    found = [
        read_alert(value or b"") for _, value in to_end(kafka.bootstrap, watching.topic("alerts"), {}, 30)
    ]
    (drift,) = [alert for alert in found if alert.type == DRIFT]
    assert [one.feature for one in drift.drift] == ["x"] and drift.drift[0].direction == "up"
    assert drift.drift[0].since == watching.start + 2 * WINDOW
    check_command(kafka.bootstrap, watching, tmp_path)


def check_same(found: Any, profile: Any) -> None:
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


def check_command(bootstrap: str, watching: Watching, folder: Path) -> None:
    """It runs for the alert, and what came of it is told."""
    script = folder / "train.sh"
    script.write_text(f'echo "$MILLRACE_ALERT_FEATURES" >> {folder}/told\n')
    alerts, came = watching.topic("alerts"), watching.topic("came")
    command = [sys.executable, "-m", "millrace.cli", "on-alert", "--run", f"sh {script}", "--kind", "drift"]
    command += ["--bootstrap", bootstrap, "--topic", alerts, "--group", alerts, "--from-beginning"]
    command += ["--count", "1", "--events-topic", came, "--debounce", "1", "--log", str(folder / "runs")]
    subprocess.run(command, check=True, timeout=120, cwd=ROOT, env=os.environ)
    assert (folder / "told").read_text() == "x\n"
    states = [read_run(value or b"").state for _, value in to_end(bootstrap, came, {}, 30)]
    assert states == ["started", "done"]
