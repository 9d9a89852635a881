"""How a Kafka cluster is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """A broker, and any property of Kafka's Java clients (security.protocol, sasl.jaas.config, ...)."""

    bootstrap: str
    client: Mapping[str, str] = field(default_factory=dict)
