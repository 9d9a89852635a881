"""Alerts as `millrace on-alert` reads them: from a topic or from a folder.

Offsets of a topic are committed when an alert is settled.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millrace.folder_stream import added
from millrace.kafka_stream import quiet
from schemas.errors import SourceError

if TYPE_CHECKING:
    from confluent_kafka import Message


class AlertStream(Protocol):
    """`poll` waits for about so long for the next message; `busy` keeps the place while none is taken."""

    def poll(self, seconds: float) -> bytes | None: ...

    def busy(self) -> None: ...

    def settled(self) -> None:
        """All that was polled is done with: it is not read again by this group."""

    def close(self) -> None: ...


class FolderAlerts:
    """The lines of a folder's files, as they appear. What is settled the caller's log knows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._lines: Iterator[bytes] = iter(())

    def poll(self, seconds: float) -> bytes | None:
        for line in self._lines:
            return line
        self._lines = added(self._folder, self._read)  # of a folder that is not there yet: none
        for line in self._lines:
            return line
        time.sleep(seconds)
        return None

    def busy(self) -> None:
        pass

    def settled(self) -> None:
        pass

    def close(self) -> None:
        pass


class TopicAlerts:
    """A topic, by a consumer group: of several processes of a group one has a partition, and the others wait.

    A group without offsets begins at what comes from now on, or with `from_beginning` at what is there.
    """

    def __init__(
        self, bootstrap: str, topic: str, group: str, client: Mapping[str, str], *, from_beginning: bool
    ) -> None:
        from confluent_kafka import Consumer, KafkaException  # noqa: PLC0415

        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest" if from_beginning else "latest",
            "isolation.level": "read_committed",
            "error_cb": lambda e: None,
            "logger": quiet,
            **client,
        }
        self._place = f"{topic} at {bootstrap}"
        self._from_beginning = from_beginning
        self._pending: list[Message] = []
        self._came: list[Message] = []
        self._paused = False
        try:
            self._consumer = Consumer(settings)
            if (error := self._consumer.list_topics(topic, 15).topics[topic].error) is not None:
                raise SourceError(f"{self._place} cannot be read: {error.str()}")
            self._consumer.subscribe([topic], on_assign=self._assigned)
        except (KafkaException, ValueError, TypeError) as e:
            raise SourceError(f"{self._place} cannot be read: {e}") from None

    def poll(self, seconds: float) -> bytes | None:
        if self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False
        message = self._came.pop(0) if self._came else self._consumer.poll(seconds)
        if message is None:
            return None
        if (error := message.error()) is not None:
            if error.fatal():
                raise SourceError(f"{self._place} could not be read: {error.str()}")
            return None
        self._pending.append(message)
        return message.value() or b""

    def busy(self) -> None:
        """A long command must not cost the group's membership: the broker hears of us, and sends nothing."""
        self._consumer.pause(self._consumer.assignment())
        self._paused = True
        if (message := self._consumer.poll(0)) is not None:
            self._came.append(message)

    def settled(self) -> None:
        from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415

        ends: dict[tuple[str, int], int] = {}
        for message in self._pending:
            place = (str(message.topic()), int(message.partition() or 0))
            ends[place] = max(ends.get(place, 0), int(message.offset() or 0) + 1)
        self._pending = []
        if not ends:
            return
        try:
            self._consumer.commit(
                offsets=[TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()],
                asynchronous=False,
            )
        except KafkaException as e:
            raise SourceError(f"offsets of {self._place} could not be committed: {e}") from None

    def close(self) -> None:
        self._consumer.close()

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        """Commit where a group without offsets begins: what comes while it is away is not lost."""
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        known = consumer.committed(partitions, 15)
        new = [one for one in known if one.offset < 0]
        begin = []
        for one in new:
            low, high = consumer.get_watermark_offsets(one, 15)
            begin.append(TopicPartition(one.topic, one.partition, low if self._from_beginning else high))
        if begin:
            consumer.commit(offsets=begin, asynchronous=False)
        consumer.assign([one for one in known if one.offset >= 0] + begin)
