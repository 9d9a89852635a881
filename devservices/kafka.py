"""A Kafka broker: one node, KRaft, from its locked jars."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from devservices.process import Daemon, ServiceError, free_port, jars, java, wait_until

# One node keeps every internal topic alone; a group's first rebalance waits for nobody.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
}


class KafkaBroker(Daemon):
    """`with KafkaBroker() as broker: Producer({"bootstrap.servers": broker.bootstrap})`.

    `settings` are added to server.properties, or replace what stands in SETTINGS.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, heap: str = "512m", port: int | None = None
    ) -> None:
        super().__init__()
        port, controller = port or free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        self._heap = heap
        self._properties = self.folder / "server.properties"
        own = {
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "log.dirs": str(self.folder / "data"),
        }
        merged = {**SETTINGS, **own, **(settings or {})}
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in merged.items()))

    @property
    def admin(self) -> AdminClient:
        """A new admin client."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def start(self) -> None:
        if not (self.folder / "data").exists():
            self._format()
        options = [f"-Xmx{self._heap}", "-XX:+UseSerialGC", "-Dlog4j2.level=WARN"]
        self.run(self._java(*options, "kafka.Kafka", self._properties), self._answers)

    def create_topics(
        self, *names: str, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create topics; return once the broker answers for them. KafkaException, e.g. where one exists."""
        topics = [NewTopic(name, partitions, 1, config=dict(config or {})) for name in names]
        admin = self.admin
        for done in admin.create_topics(topics).values():
            done.result()
        ends = {TopicPartition(n, p): OffsetSpec.latest() for n in names for p in range(partitions)}
        wait_until(
            lambda: _leads(admin, ends), 30, lambda: f"the broker does not lead {', '.join(names)} yet"
        )

    def _java(self, *arguments: str | Path) -> list[str | Path]:
        return java("-cp", f"{jars('kafka-server')}/*", *arguments)

    def _format(self) -> None:
        # with "=": an id may begin with a dash, and would be read as an option
        cluster = "--cluster-id=" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ("kafka.tools.StorageTool", "format", "--standalone", cluster, "-c", self._properties)
        done = subprocess.run(self._java(*tool), capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceError(f"Kafka's storage could not be formatted.\n{done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        try:
            return bool(self.admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False


def _leads(admin: AdminClient, ends: Mapping[TopicPartition, OffsetSpec]) -> bool:
    """A broker has a topic a moment before it is the leader of its partitions."""
    try:
        for found in admin.list_offsets(dict(ends)).values():
            found.result()
    except KafkaException:
        return False
    return True
