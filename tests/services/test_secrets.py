"""Secrets planted in settings, in the environment and on the command line: neither logs nor Flink's REST
interface show them, and references to them are looked up where the clients are."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from tests import models
from tests.streams import Sent, Streams
from udfs.models.descriptor import build
from udfs.models.runtimes.base import PartialInput

SECRET = "planted-secret"


def test_they_show_nowhere(
    kafka: KafkaBroker, flink: StandaloneCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = Streams(kafka)
    model = build(
        data_type="wine",
        name="one",
        version=1,
        data=models.constant_frozen_graph(1.0, 1),
        inputs=[PartialInput("x", None, None, ("a",))],
    )
    streams.publish(model)
    wait_file = tmp_path / "wait"
    wait_file.write_text("7\n")
    # a number that Kafka's client in Java refuses unless the file is read for it
    client = {"fetch.max.wait.ms": f"${{file:{wait_file}}}", "client.rack": f"{SECRET}-in-a-property"}
    arguments = streams.arguments(
        kafka__client=json.dumps(client), s3=json.dumps({"secret_key": f"{SECRET}-on-the-command-line"})
    )
    monkeypatch.setattr(
        flink, "env", {**flink.env, "MILLRACE_S3__SECRET_KEY": f"{SECRET}-in-the-environment"}
    )
    job = flink.run(ROOT / "jobs" / "serve.py", *arguments)
    try:
        flink.wait_running(job)
        streams.send([Sent(b'{"a": 1}')])
        wait_until(lambda: streams.count("results") == 1, 120, flink.logs)
        answers = dict(_answers(flink, job))
        logs = {
            str(path): path.read_text(errors="replace")
            for path in flink.folder.rglob("*")
            if path.is_file() and path.suffix in (".log", ".out")
        }
        assert any("CliFrontend" in text or "flink" in text for text in logs.values())
        assert "score" in answers[f"/jobs/{job}/plan"]
        for where, text in (answers | logs).items():
            assert SECRET not in text, f"{where} has it"
    finally:
        flink.rest.call(f"/jobs/{job}?mode=cancel", method="PATCH")


def test_the_dashboard_takes_no_jars(flink: StandaloneCluster) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{flink.rest.url}/jars", timeout=20)
    assert refused.value.code == 404


def _answers(flink: StandaloneCluster, job: str) -> Iterator[tuple[str, str]]:
    paths = ["/config", "/overview", "/jobmanager/config", "/jobmanager/environment", "/jobmanager/log"]
    paths += [f"/jobs/{job}{part}" for part in ("", "/config", "/plan", "/exceptions", "/checkpoints/config")]
    for one in flink.rest.task_managers():
        paths += [f"/taskmanagers/{one}{part}" for part in ("", "/log", "/stdout", "/metrics")]
    for path in paths:
        try:
            with urllib.request.urlopen(f"{flink.rest.url}{path}", timeout=20) as answer:
                yield path, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as e:
            yield path, e.read().decode(errors="replace")
