"""Dead letters of a topic, and their records back to the topics they came from, each once.

A record and the note that it was sent are one transaction: a run that ends in the middle has sent neither.
The notes are in a compacted topic, by the identity of the record that was repeated.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from millrace import kafka_stream
from millrace.replaying import HEADER, NotWholeError, Original, identity_of, original_of
from schemas.errors import SourceError
from schemas.results.records import DeadLetter

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Producer

_TOGETHER = 200
_LARGEST = 1 << 26


@dataclass(frozen=True, slots=True)
class ReplayTopics:
    """`letters`: the topic of dead letters; `notes`: that of what was sent. `client`: of librdkafka."""

    bootstrap: str
    letters: str
    notes: str
    client: Mapping[str, str]
    timeout_s: float

    def lines(self) -> Iterator[bytes]:
        """Every dead letter that there is now. Raises `SourceError`."""
        return kafka_stream.values(self.bootstrap, self.letters, self.client, self.timeout_s)

    def sent_before(self) -> set[str]:
        """Identities of what earlier runs sent; none without a topic of notes. Raises `SourceError`."""
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415

        admin = AdminClient(self._settings())
        if self.notes not in _asked(admin.list_topics, self.timeout_s, what="the broker's topics").topics:
            return set()
        notes = kafka_stream.to_end(self.bootstrap, self.notes, self.client, self.timeout_s)
        return {key.decode(errors="replace") for key, value in notes if key is not None and value is not None}

    def _settings(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.bootstrap, "logger": kafka_stream.quiet, **self.client}


class SourceTopics:
    """Records of which a dead letter holds a part, where they are still in their topic."""

    def __init__(self, topics: ReplayTopics) -> None:
        self._topics = topics
        self._consumer: Consumer | None = None

    def whole(self, letter: DeadLetter) -> Original:
        """The record of the letter, from its topic. Raises `NotWholeError` where it is no longer there."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition  # noqa: PLC0415

        if self._consumer is None:
            own = {"group.id": "millrace-command", "enable.auto.commit": False, "enable.partition.eof": True}
            self._consumer = Consumer({**self._topics._settings(), **own})
        place = TopicPartition(letter.source, letter.partition, letter.offset)
        timeout, where = self._topics.timeout_s, identity_of(letter)
        try:
            low, high = self._consumer.get_watermark_offsets(place, timeout)
            if not low <= letter.offset < high:
                raise NotWholeError(f"{where} is no longer in its topic")
            self._consumer.assign([place])
            message = self._consumer.poll(timeout)
        except KafkaException as e:
            raise NotWholeError(f"{where} cannot be read: {e}") from None
        if message is None or message.error() or message.offset() != letter.offset:
            raise NotWholeError(f"{where} is no longer in its topic")
        value = message.value()
        if value is None or len(value) != letter.size or not value.startswith(_start(letter)):
            raise NotWholeError(f"what is at {where} now is another record")
        headers: Any = tuple(message.headers() or ())
        return Original(
            where, letter.source, letter.partition, value, message.key(), headers, letter.event_time
        )

    def close(self) -> None:
        """Close the consumer, where there is one."""
        if self._consumer is not None:
            self._consumer.close()


def _start(letter: DeadLetter) -> bytes:
    raw = letter.raw or ""
    held = original_of(replace(letter, cut=[], headers=[], key=None, size=len(raw) // 4 * 3 - raw.count("=")))
    return held.payload or b""


@contextmanager
def sending(topics: ReplayTopics) -> Iterator[Sending]:
    """To send in transactions of which one run at a time has the right. Raises `SourceError`."""
    from confluent_kafka import KafkaException, Producer  # noqa: PLC0415

    _make_notes(topics)
    own = {"transactional.id": f"millrace-replay-{topics.notes}", "message.max.bytes": _LARGEST}
    try:
        producer = Producer({**topics._settings(), **own})
        producer.init_transactions(topics.timeout_s)
    except (KafkaException, ValueError, TypeError) as e:
        raise SourceError(f"no transaction can be begun at {topics.bootstrap}: {_said(e)}") from e
    yield Sending(topics, producer)


class Sending:
    """Sends records back, some hundred in a transaction."""

    def __init__(self, topics: ReplayTopics, producer: Producer) -> None:
        self._topics, self._producer = topics, producer

    def send(self, records: Sequence[Original]) -> dict[str, str]:
        """Send all; the identities of those that the broker does not take, with its reason.

        Raises `SourceError` where the broker is gone, or another run has begun meanwhile.
        """
        refused: dict[str, str] = {}
        for start in range(0, len(records), _TOGETHER):
            refused |= self._together(records[start : start + _TOGETHER])
        return refused

    def _together(self, records: Sequence[Original]) -> dict[str, str]:
        """In one transaction, or one by one where one of them is not taken."""
        reason = self._transaction(records)
        if not reason:
            return {}
        if len(records) == 1:
            return {records[0].identity: reason}
        return {name: why for one in records for name, why in self._together([one]).items()}

    def _transaction(self, records: Sequence[Original]) -> str:
        """Empty, or why nothing of it was sent."""
        from confluent_kafka import KafkaException  # noqa: PLC0415

        failed: list[str] = []
        note = str(time.time_ns() // 1_000_000).encode()

        def reported(error: Any, message: Any) -> None:
            if error is not None:
                failed.append(error.str())

        try:
            self._producer.begin_transaction()
            for one in records:
                headers: Any = [*one.headers, (HEADER, one.identity.encode())]
                self._producer.produce(
                    one.source,
                    one.payload,
                    one.key,
                    one.partition,
                    timestamp=one.event_time or 0,
                    headers=headers,
                    on_delivery=reported,
                )
                self._producer.produce(self._topics.notes, note, one.identity.encode(), on_delivery=reported)
            self._producer.flush(self._topics.timeout_s)
            if not failed:
                self._producer.commit_transaction(self._topics.timeout_s)
                return ""
        except KafkaException as e:
            if e.args[0].fatal():
                raise SourceError(
                    f"the records could not be sent to {self._topics.bootstrap}: {_said(e)}; see that no "
                    "other run goes on, and run it again: what was sent is not sent twice"
                ) from e
            failed.append(_said(e))
        try:
            self._producer.abort_transaction(self._topics.timeout_s)
        except KafkaException as e:
            raise SourceError(
                f"a transaction could not be ended at {self._topics.bootstrap}: {_said(e)}"
            ) from e
        return failed[0]


def _make_notes(topics: ReplayTopics) -> None:
    """The topic of notes, where there is none yet. Raises `SourceError`."""
    from confluent_kafka import KafkaException  # noqa: PLC0415
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415
    from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415

    admin = AdminClient(topics._settings())
    if topics.notes in _asked(admin.list_topics, topics.timeout_s, what="the broker's topics").topics:
        return
    kept = {"cleanup.policy": "compact", "retention.ms": "-1"}
    made = admin.create_topics([NewTopic(topics.notes, 1, config=kept)], request_timeout=topics.timeout_s)
    try:
        made[topics.notes].result()
    except KafkaException as e:
        raise SourceError(
            f"the topic {topics.notes}, which keeps what was sent, cannot be made at {topics.bootstrap} "
            f"({_said(e)}); create it, compacted and with one partition"
        ) from e


def _asked(call: Any, timeout_s: float, what: str) -> Any:
    from confluent_kafka import KafkaException  # noqa: PLC0415

    try:
        return call(timeout=timeout_s)
    except KafkaException as e:
        raise SourceError(f"{what} cannot be read: {_said(e)}") from e


def _said(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    return inner.str() if hasattr(inner, "str") else str(inner)
