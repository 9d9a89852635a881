"""The `millrace` command against a broker: publish, see what serves, read results, unpublish."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from devservices.kafka import KafkaBroker
from devservices.process import ROOT, free_port
from schemas.results.records import EventKind, ModelToServeStats, decode
from tests import models
from tests.streams import Sent, Streams


def millrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "millrace.cli", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_life_of_a_model(kafka: KafkaBroker, tmp_path: Path) -> None:
    streams, now = Streams(kafka), time.time_ns() // 1_000_000
    at = ("--bootstrap", kafka.bootstrap, "--topic")
    folder = models.constant_saved_model(tmp_path / "m", 7)
    publish = ("publish", str(folder), "--data-type", "wine", "--name", "seven", "--version", "3")
    done = millrace(*publish, *at, streams.topic("models"))
    assert done.returncode == 0 and "Published" in done.stdout, done.stderr

    streams.send(Sent(b'{"x": [1, %d]}' % i, partition=i % 4, timestamp=now) for i in range(100))
    with streams.running("serve.py", stats_seconds="1") as job:
        job.wait_ready(lambda: streams.count("results") >= 100 == used(streams), 120)

        done = millrace("models", *at, streams.topic("model-stats"), "--json")
        (shown,) = json.loads(done.stdout)
        assert (shown["data_type"], shown["name"], shown["version"]) == ("wine", "seven", 3)
        assert (shown["usage"], shown["failures"], shown["serving"]) == (100, 0, True)
        done = millrace("models", *at, streams.topic("model-stats"))
        assert "seven" in done.stdout and "100" in done.stdout

        done = millrace("tail", *at, streams.topic("results"), "--no-follow", "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert sorted(line["x"][1] for line in lines) == list(range(100))
        done = millrace("tail", *at, streams.topic("results"), "--from-beginning", "--count", "5")
        assert done.returncode == 0 and done.stdout.count("seven v3") == 5 and "y=7" in done.stdout

        done = millrace("unpublish", "wine", *at, streams.topic("models"))
        assert done.returncode == 0 and "Unpublished" in done.stdout
        job.wait_ready(lambda: len(streams.events()) == 2, 60)
    kinds = [(e.kind, e.version) for e in streams.events()]
    assert kinds == [(EventKind.SERVED, 3), (EventKind.WITHDRAWN, 3)]


def used(streams: Streams) -> int:
    """How many records the model had scored when it last told so."""
    told = [decode(ModelToServeStats, message.value() or b"") for message in streams.read("model-stats")]
    return told[-1].usage if told else 0


def test_a_broker_out_of_reach_is_one_sentence(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    done = millrace("unpublish", "wine", "--bootstrap", address, "--timeout", "2")
    assert done.returncode == 1 and address in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
