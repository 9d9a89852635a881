"""What every table on Kafka has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """A broker, and any property of Kafka's Java clients (security.protocol, sasl.jaas.config, ...)."""

    bootstrap: str
    client: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> dict[str, str]:
        properties = {f"properties.{name}": value for name, value in self.client.items()}
        return {"connector": "kafka", "properties.bootstrap.servers": self.bootstrap, **properties}


@dataclass(frozen=True, slots=True)
class Reading:
    """Where to begin and end. `start`: earliest, latest or committed; `bounded`: stop at today's end."""

    group: str
    start: str = "earliest"
    bounded: bool = False

    def options(self) -> dict[str, str]:
        modes = {"earliest": "earliest-offset", "latest": "latest-offset", "committed": "group-offsets"}
        chosen = {"properties.group.id": self.group, "scan.startup.mode": modes[self.start]}
        if self.start == "committed":  # of a group that has committed nothing yet
            chosen["properties.auto.offset.reset"] = "earliest"
        return chosen | ({"scan.bounded.mode": "latest-offset"} if self.bounded else {})


@dataclass(frozen=True, slots=True)
class Delivery:
    """`exactly_once`: results appear to read-committed readers at checkpoints; else at once, and a repeat is
    possible after a failure. `prefix` names the job's transactions and must be its own; `timeout_ms` covers
    the longest outage."""

    exactly_once: bool
    prefix: str
    timeout_ms: int = 600_000

    def options(self) -> dict[str, str]:
        # Larger batches: with the producer's defaults the sink alone costs a third of the throughput.
        batching = {"properties.linger.ms": "5", "properties.batch.size": "262144"}
        if not self.exactly_once:
            return {"sink.delivery-guarantee": "at-least-once", **batching}
        return {
            "sink.delivery-guarantee": "exactly-once",
            "sink.transactional-id-prefix": self.prefix,
            "properties.transaction.timeout.ms": str(self.timeout_ms),
            **batching,
        }
