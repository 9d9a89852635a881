"""A job that cannot work ends by itself and says why in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from devservices.kafka import KafkaBroker
from devservices.process import ROOT, free_port
from jobs import broker
from jobs.settings.serve import ServeSettings
from operators.kafka import KafkaConnection
from operators.kafka_check import check_topics, forgets, keep
from tests.refusals import refused
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


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    return refused(ServeSettings, broker.check_streams, arguments, capsys)


def test_a_broker_out_of_reach_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "check_topics", partial(check_topics, timeout_s=1))
    address = f"127.0.0.1:{free_port()}"
    assert address in refusal(["--kafka.bootstrap", address, "--kafka.records", '{"a": "wine"}'], capsys)


@pytest.mark.parametrize("setting", ["models", "results", "dead_letters"])
def test_a_missing_topic_is_named(
    kafka: KafkaBroker, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = {f"kafka__{setting}": "no-such-topic"}
    said = refusal(Streams(kafka).arguments(**missing), capsys)
    assert "no-such-topic" in said and setting in said


def test_a_missing_topic_of_records_is_named(kafka: KafkaBroker) -> None:
    streams = Streams(kafka)
    wrong = '{"no-such-records": "wine"}'
    assert_says(run(*streams.arguments(kafka__records=wrong)), "no-such-records", "records")


def test_a_topic_of_models_that_forgets_them_is_told_refused_or_mended(
    kafka: KafkaBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    streams = Streams(kafka)
    week = f"{streams.prefix}-models-of-a-week"
    kafka.create_topics(week)
    said = refusal(streams.arguments(kafka__models=week, kafka__models_kept="refuse"), capsys)
    assert all(word in said for word in (week, "retention.ms 604800000", "kafka.models_kept"))
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
