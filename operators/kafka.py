"""How a Kafka cluster is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from udfs.io.references import for_kafka, resolved

_PROVIDERS = "org.apache.flink.kafka.shaded.org.apache.kafka.common.config.provider"


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """A broker, and any property of Kafka's Java clients (security.protocol, sasl.jaas.config, ...), with
    references in the place of secrets: `udfs.io.references`."""

    bootstrap: str
    client: Mapping[str, str] = field(default_factory=dict, repr=False)

    def java_client(self) -> dict[str, str]:
        """For Java, which looks references up where the clients are."""
        return for_kafka(dict(self.client), _PROVIDERS)

    def here(self) -> dict[str, str]:
        """For a client in this process. Raises `SettingsError` for a reference to what is not here."""
        return {name: resolved(value) for name, value in self.client.items()}
