"""Where outputs go, and under which uids: the sinks of jobs, without a JVM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs import broker, wiring
from jobs.settings.features import FeatureSettings
from jobs.settings.run import settings_of
from jobs.settings.serve import ServeSettings
from schemas.errors import SettingsError

KAFKA = ["--kafka.bootstrap", "b:1", "--kafka.records", '{"t": "wine"}']
BOTH = ["--sinks", '["kafka", "folder"]']


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """(output, target, uid) of each sink."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        wiring, "add_kafka_sink", lambda out, at, topic, how, uid: found.append((out, topic, uid))
    )
    monkeypatch.setattr(wiring, "add_folder_sink", lambda out, place, uid: found.append((out, place, uid)))
    return found


def test_outputs_go_where_the_settings_say_each_under_its_own_uid(
    made: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    def sinks(*flags: str) -> list[tuple[Any, ...]]:
        made.clear()
        settings = settings_of(ServeSettings, [*flags])
        wiring.add_sinks({"results": "r", "dead_letters": "d"}, settings)  # type: ignore[dict-item]
        return sorted(made)

    folder, results = ["--folder.root", str(tmp_path)], (tmp_path / "results").as_uri()
    letters = (tmp_path / "dead-letters").as_uri()
    topics = [("d", "dead-letters", "dead-letters"), ("r", "results", "results")]
    assert sinks(*KAFKA) == topics
    assert sinks(*folder) == [("d", letters, "dead-letters"), ("r", results, "results")]
    beside = [("d", letters, "dead-letters-folder"), ("r", results, "results-folder")]
    assert sinks(*KAFKA, *folder, "--sinks", "folder") == beside
    assert sinks(*KAFKA, *folder, *BOTH) == sorted([*topics, *beside])
    assert [uid for _, _, uid in sinks(*KAFKA, *folder, "--source", "folder", *BOTH)] == [
        "dead-letters-kafka",
        "dead-letters",
        "results",
        "results-kafka",
    ]


def test_a_topic_is_asked_for_only_where_it_is_read_or_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(broker, "check_topics", lambda at, topics: asked.append(dict(topics)))
    monkeypatch.setattr(broker, "forgets", lambda at, topic: {})
    folder, reads = ["--folder.root", str(tmp_path)], {"models": "kafka.models", "t": "kafka.records"}

    def topics(*flags: str) -> dict[str, str]:
        asked.clear()
        broker.check_streams(settings_of(ServeSettings, [*KAFKA, *folder, *flags]))
        return {topic: setting for one in asked for topic, setting in one.items()}

    written = {
        "results": "kafka.results",
        "dead-letters": "kafka.dead_letters",
        "model-events": "kafka.model_events",
        "model-stats": "kafka.model_stats",
    }
    assert topics("--sinks", "folder") == reads
    assert topics(*BOTH) == reads | written
    assert topics("--source", "folder", "--sinks", "kafka") == written
    assert topics("--source", "folder") == {}


def test_a_job_without_transactions_writes_at_least_once(monkeypatch: pytest.MonkeyPatch) -> None:
    how: list[Any] = []
    monkeypatch.setattr(wiring, "add_kafka_sink", lambda out, at, topic, delivery, uid: how.append(delivery))
    flags = ["--declarations", "v.py", "--redis", "{}", "--kafka.bootstrap", "b:1", "--name", "mine"]
    wiring.add_sinks({"dead_letters": "d"}, settings_of(FeatureSettings, flags))  # type: ignore[dict-item]
    assert (how[0].exactly_once, how[0].prefix) == (False, "mine")


@pytest.mark.parametrize(
    ("output", "topic"),
    [("results", "t"), ("dead-letters", "t"), ("model-events", "models"), ("dead-letters", "models")],
)
@pytest.mark.parametrize("check", ["true", "false"])
def test_a_job_that_would_read_what_it_writes_does_not_start(output: str, topic: str, check: str) -> None:
    """Each dead letter was a record, and made a dead letter."""
    flags = [f"--kafka.{output}", topic, "--kafka.check", check]
    with pytest.raises(
        SettingsError, match=f"kafka.{output.replace('-', '_')} is '{topic}', which the job reads too"
    ):
        broker.check_streams(settings_of(ServeSettings, [*KAFKA, *flags]))
