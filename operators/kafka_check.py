"""A question to the broker before a job starts: are the topics there?"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from operators.kafka import KafkaConnection
from schemas.errors import SourceError

_quiet = logging.getLogger("millrace.kafka")
_quiet.addHandler(logging.NullHandler())  # what matters is raised, as one sentence
_quiet.propagate = False

_NOT_TOLD = (KafkaException, ValueError, TypeError)
"""What comes where the broker does not answer, and where this client does not know a property of Java's."""

_BOUNDS = ("retention.ms", "retention.bytes")


def check_topics(connection: KafkaConnection, topics: Mapping[str, str], timeout_s: float = 15) -> None:
    """Raise `SourceError` where the broker is out of reach or lacks one of `topics`, name -> setting.

    Flink's own connector would try for minutes and end in a time-out that names neither. Connections that
    need properties of the Java client which this one does not know are not checked.
    """
    try:
        admin = _admin(connection)
    except _NOT_TOLD:
        return
    try:
        present = admin.list_topics(timeout=timeout_s).topics
    except KafkaException as e:
        raise SourceError(
            f"no Kafka broker answers at {connection.bootstrap} within {timeout_s:g} s ({e.args[0].str()}); "
            "see that it runs and that kafka.bootstrap is its address"
        ) from None
    missing = [f"{topic} ({setting})" for topic, setting in topics.items() if topic not in present]
    if missing:
        raise SourceError(
            f"the broker at {connection.bootstrap} has no topic {', '.join(missing)}; create it, or correct "
            "the setting"
        )


def forgets(connection: KafkaConnection, topic: str, timeout_s: float = 15) -> dict[str, str]:
    """The settings by which the broker deletes old messages of the topic, whatever their keys; empty where it
    keeps the newest of each key, or does not tell."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        admin = _admin(connection)
        found = admin.describe_configs([resource], request_timeout=timeout_s)[resource].result()
    except _NOT_TOLD:
        return {}
    said = {name: found[name].value or "" for name in ("cleanup.policy", *_BOUNDS) if name in found}
    if "delete" not in said.get("cleanup.policy", ""):
        return {}
    return {name: said[name] for name in _BOUNDS if said.get(name, "-1") != "-1"}


def keep(connection: KafkaConnection, topic: str, timeout_s: float = 15) -> None:
    """Have the broker keep all messages of the topic. Raises `SourceError` where it does not."""
    entries = [ConfigEntry(name, "-1", incremental_operation=AlterConfigOpType.SET) for name in _BOUNDS]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    try:
        admin = _admin(connection)
        admin.incremental_alter_configs([resource], request_timeout=timeout_s)[resource].result()
    except _NOT_TOLD as e:
        raise SourceError(
            f"the broker at {connection.bootstrap} does not let the retention of {topic} be set ({e}); set "
            f"{' and '.join(_BOUNDS)} to -1 yourself, or kafka.models_kept to warn"
        ) from None


def topic_ids(connection: KafkaConnection, topics: Iterable[str], timeout_s: float = 15) -> dict[str, str]:
    """The ids that the broker gave the topics when they were made; without those that it does not tell."""
    try:
        admin = _admin(connection)
        asked = admin.describe_topics(TopicCollection(list(topics)), request_timeout=timeout_s)
    except _NOT_TOLD:
        return {}
    found = {}
    for topic, answer in asked.items():
        with suppress(KafkaException):
            found[topic] = str(answer.result().topic_id)
    return found


def partitions(connection: KafkaConnection, topics: Iterable[str], timeout_s: float = 15) -> dict[str, int]:
    """How many partitions the topics have; without those of which it cannot be told."""
    try:
        admin = _admin(connection)
        known = admin.list_topics(timeout=timeout_s).topics
    except _NOT_TOLD:
        return {}
    return {topic: len(known[topic].partitions) for topic in topics if topic in known}


def _admin(connection: KafkaConnection) -> AdminClient:
    return AdminClient({"bootstrap.servers": connection.bootstrap, **connection.here()}, logger=_quiet)
