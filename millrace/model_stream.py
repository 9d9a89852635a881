"""Handing a descriptor to the model stream: a folder or a Kafka topic."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millrace import folder_stream, kafka_stream
from schemas.errors import SettingsError
from udfs.models.descriptor import parse
from udfs.models.stream_key import stream_key


@dataclass(frozen=True, slots=True)
class ModelStream:
    """Where descriptors go: `folder`, or else `topic` at `bootstrap` (HOST:PORT[,...]).

    `client`: settings of librdkafka. `timeout_s`: until Kafka must have confirmed.
    """

    folder: Path | None = None
    bootstrap: str | None = None
    topic: str = "models"
    client: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.bootstrap is None):
            raise SettingsError("a model stream is either a folder or a topic at bootstrap servers")

    def moment(self, data_type: str) -> tuple[int, int]:
        """`(created_ms, version)` for the next descriptor.

        Both are the present time in epoch milliseconds; in a folder they are at least one above the latest
        there, so that they rise even where the clock steps back.
        """
        now = time.time_ns() // 1_000_000
        created, version = (0, 0) if self.folder is None else folder_stream.newest(self.folder, data_type)
        return max(now, created + 1), max(now, version + 1)

    def messages(self) -> Iterator[bytes]:
        """What is there: of a folder in the order of names. Raises `SourceError`."""
        if self.folder is not None:
            return (path.read_bytes() for path in sorted(self.folder.glob("*.model")))
        assert self.bootstrap is not None
        return kafka_stream.values(self.bootstrap, self.topic, self.client, self.timeout_s)

    def send(self, data_type: str, name: str, version: int, created_ms: int, descriptor: bytes) -> str:
        """Hand the descriptor over; where it is now. Raises `SourceError`."""
        if self.folder is not None:
            path = folder_stream.write(
                self.folder,
                descriptor,
                created_ms=created_ms,
                data_type=data_type,
                name=name,
                version=version,
            )
            return str(path)
        assert self.bootstrap is not None
        partition, offset = kafka_stream.send(
            self.bootstrap,
            self.topic,
            key=stream_key(parse(descriptor)),
            beside=data_type.encode(),
            value=descriptor,
            client=self.client,
            timeout_s=self.timeout_s,
        )
        return f"{self.topic}, partition {partition}, offset {offset}"
