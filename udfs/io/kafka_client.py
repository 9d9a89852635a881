"""Properties of Kafka's Java clients as librdkafka knows them, so that one setting serves both.

The names of either are in their documentation; most are the same. What librdkafka cannot do is refused, since
a security setting that is silently dropped would be worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from schemas.errors import SettingsError

_RENAMED = {
    "fetch.max.wait.ms": "fetch.wait.max.ms",
    "ssl.keystore.certificate.chain": "ssl.certificate.pem",
    "ssl.keystore.key": "ssl.key.pem",
    "ssl.truststore.certificates": "ssl.ca.pem",
}
# They concern the Java client's own threads, or the producer, and change nothing for who reads.
_IDLE = frozenset(
    {
        "max.poll.records", "max.poll.interval.ms", "key.deserializer", "value.deserializer", "linger.ms",
        "batch.size", "acks", "compression.type", "max.request.size", "buffer.memory",
        "transaction.timeout.ms", "ssl.truststore.type", "ssl.keystore.type",
        "partition.discovery.interval.ms",
    }
)  # fmt: skip
_JAAS = re.compile(r'(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"')


def reader_properties(client: Mapping[str, str]) -> dict[str, str]:
    """For a librdkafka consumer. Raises `SettingsError` for what it cannot take over."""
    found: dict[str, str] = {}
    for name, value in client.items():
        if name == "sasl.jaas.config":
            found |= _login(value)
        elif name == "ssl.truststore.location":
            _only(client, "ssl.truststore.type", ("PEM",), "a certificate authority in PEM")
            found["ssl.ca.location"] = value
        elif name == "ssl.keystore.location" and client.get("ssl.keystore.type") == "PEM":
            found |= {"ssl.certificate.location": value, "ssl.key.location": value}
        elif name == "ssl.keystore.location":
            _only(client, "ssl.keystore.type", ("PKCS12",), "a key store in PEM or PKCS12")
            found[name] = value
        elif name not in _IDLE:
            found[_RENAMED.get(name, name)] = value
    return found


def _login(jaas: str) -> dict[str, str]:
    if not re.search(r"\b(PlainLoginModule|ScramLoginModule)\b", jaas):
        raise SettingsError(
            f"kafka.client: {jaas.split(maxsplit=1)[0]} of sasl.jaas.config is known to Java clients only; "
            "set kafka.reader to flink"
        )
    parts = {name: re.sub(r"\\(.)", r"\1", value) for name, value in _JAAS.findall(jaas)}
    return {f"sasl.{name}": value for name, value in parts.items()}


def _only(client: Mapping[str, str], setting: str, known: tuple[str, ...], what: str) -> None:
    kind = client.get(setting, "JKS")  # Java's default
    if kind not in known:
        raise SettingsError(f"kafka.client: {setting} is {kind}; give {what}, or set kafka.reader to flink")
