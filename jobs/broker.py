"""What jobs ask the broker before Flink starts: whether the topics that the settings name are there."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from jobs.settings.serve import JobSettings
from jobs.settings.streams import Broker, Kafka, StreamSettings
from operators.kafka import KafkaConnection
from operators.kafka_check import check_topics, forgets, keep
from schemas.errors import SettingsError, SourceError


def check_kafka(settings: StreamSettings, reads: Mapping[str, str], writes: Sequence[str]) -> None:
    """Raises `SourceError` where the broker is missing, or a topic of those that the job reads or writes, and
    `SettingsError` where it would read what it writes.

    `reads`: topic -> the setting that names it. `writes`: outputs; the setting of that name has its topic.
    """
    kafka = settings.kafka
    topics = dict(reads) if settings.reads_kafka else {}
    if "kafka" in settings.writes:
        written = named_topics(kafka, writes)
        for topic in written.keys() & topics.keys():
            raise SettingsError(
                f"{written[topic]} is {topic!r}, which the job reads too ({topics[topic]}): it would read "
                "what it writes, without end; give it a topic of its own"
            )
        topics |= written
    if topics and kafka is not None and kafka.check:
        check_topics(connection(kafka), topics)


def named_topics(kafka: Broker | None, names: Sequence[str]) -> dict[str, str]:
    """Topic -> the setting that names it; none without Kafka."""
    return {} if kafka is None else {getattr(kafka, name): f"kafka.{name}" for name in names}


def check_streams(settings: JobSettings) -> None:
    """Raises `SourceError` where the broker or a topic is missing, or the topic of models forgets them."""
    kafka = settings.kafka
    reads = named_topics(kafka, ["models"])
    reads |= dict.fromkeys(kafka.records if kafka is not None else (), "kafka.records")
    check_kafka(settings, reads, ("results", "dead_letters", "model_events", "model_stats"))
    if kafka is not None and kafka.check and settings.reads_kafka:
        _check_models(kafka)


def _check_models(kafka: Kafka) -> None:
    """A job without a savepoint serves what the topic of models still has, and Kafka's default is a week."""
    bounds = forgets(connection(kafka), kafka.models)
    if not bounds:
        return
    if kafka.models_kept == "set":
        keep(connection(kafka), kafka.models)
        return
    said = " and ".join(f"{name} {value}" for name, value in bounds.items())
    sentence = (
        f"the topic {kafka.models} (kafka.models) forgets its messages by {said}: a job that is started anew "
        "would lack models published before; set retention.ms and retention.bytes to -1, or "
        "kafka.models_kept to set"
    )
    if kafka.models_kept == "refuse":
        raise SourceError(sentence)
    print(f"warning: {sentence}", file=sys.stderr)


def connection(kafka: Broker) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap, kafka.client)
