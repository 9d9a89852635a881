"""A job that cannot work ends by itself and says why in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devservices.kafka import KafkaBroker
from devservices.process import ROOT, free_port
from operators.kafka import KafkaConnection
from operators.kafka_check import forgets, keep
from tests.streams import Streams


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "serve.py"), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def assert_says(done: subprocess.CompletedProcess[str], *words: str, code: int = 2) -> None:
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == code, done.stderr
    assert len(said) == 1 and all(word in said[0] for word in words), done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_out_of_reach_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    assert_says(run("--kafka.bootstrap", address, "--kafka.records", '{"a": "wine"}'), address)


@pytest.mark.parametrize("setting", ["models", "results", "dead_letters"])
def test_a_missing_topic_is_named(kafka: KafkaBroker, setting: str) -> None:
    streams = Streams(kafka)
    assert_says(run(*streams.arguments(**{f"kafka__{setting}": "no-such-topic"})), "no-such-topic", setting)


def test_a_missing_topic_of_records_is_named(kafka: KafkaBroker) -> None:
    streams = Streams(kafka)
    wrong = '{"no-such-records": "wine"}'
    assert_says(run(*streams.arguments(kafka__records=wrong)), "no-such-records", "records")


def test_a_topic_of_models_that_forgets_them_is_told_refused_or_mended(kafka: KafkaBroker) -> None:
    streams = Streams(kafka)
    week = f"{streams.prefix}-models-of-a-week"
    kafka.create_topics(week)
    missing = streams.arguments(kafka__models=week, kafka__models_kept="refuse")
    assert_says(run(*missing), week, "retention.ms 604800000", "kafka.models_kept")
    at = KafkaConnection(kafka.bootstrap)
    keep(at, week)
    assert forgets(at, week) == {}
    compacted = f"{streams.prefix}-compacted"
    kafka.create_topics(compacted, config={"cleanup.policy": "compact"})
    assert forgets(at, compacted) == {}
    assert forgets(KafkaConnection(f"127.0.0.1:{free_port()}"), week, 1) == {}


def test_a_codec_that_cannot_be_built_ends_the_job(tmp_path: Path) -> None:
    schema = str(tmp_path / "missing.avsc")
    codec = json.dumps({"kind": "avro", "schema": schema})
    (tmp_path / "records" / "wine").mkdir(parents=True)
    (tmp_path / "records" / "wine" / "a").write_text("record\n")
    assert_says(run("--folder.root", str(tmp_path), "--codec", codec), schema, code=1)
