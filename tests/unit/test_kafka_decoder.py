"""Events read where they are decoded: Flink's state in memory, the broker that librdkafka brings along."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from operators.block_row import DEAD_LETTERS
from operators.features.feature_rows import events_of
from operators.features.kafka_decoder import KafkaDecoder
from operators.sources import direct_reading
from operators.sources.direct_reading import DirectSpec
from schemas.block import Block
from schemas.errors import SourceError
from schemas.features.declarations import Declarations
from schemas.features.feature_block import EVENT_ID
from tests.feature_stand import Keyed
from tests.unit.test_feature_operators import DECLARED, SPEND, START
from udfs.features.events.decode_spec import DecodeSpec
from udfs.io.partition_reader import TopicReading

WINDOW_MS, PARTITIONS = 50, 4
ONLY_SPEND = Declarations(sources=DECLARED.sources, views=(SPEND,))


def send(producer: Producer, numbers: range) -> None:
    for n in numbers:
        event = orjson.dumps({"id": f"e{n}", "account": f"a{n % 5}", "at": START + n, "amount": 1.0})
        producer.produce("signals", event, partition=n % PARTITIONS)
    assert producer.flush(10) == 0


def decoder(address: str, lanes: int = 1, max_block: int = 1000) -> KafkaDecoder:
    spec = DecodeSpec(ONLY_SPEND, ("signals",), shards=2, settle_ms=100, partitions={"signals": PARTITIONS})
    reading = TopicReading(address, {"signals": "signals"}, "g", lanes=lanes)
    return KafkaDecoder(spec, DirectSpec(reading, WINDOW_MS, max_block, 100, "thread"))


def ids(sent: list[Any]) -> list[str]:
    assert not [row for tag, row in sent if tag.tag_id == DEAD_LETTERS.tag_id]
    batches = [events_of(row[1]) for _, row in sent if row[1][1] is not None]
    return [name for batch in batches for name in batch.column(EVENT_ID).to_pylist()]


def read(keyed: Keyed, count: int, *keys: str) -> list[str]:
    """Windows pass until so many events have come; a tick comes with the first."""
    found: list[str] = []
    for key in keys:
        found += ids(keyed.element(key, None))
    end = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < end, f"{len(found)} of {count}"
        found += ids(keyed.pass_time(keyed.clock + WINDOW_MS))
        time.sleep(0.005)
    return found


def test_each_event_comes_once_over_restarts(mock_broker: tuple[str, Producer]) -> None:
    address, producer = mock_broker
    send(producer, range(300))
    keyed = Keyed(decoder(address))
    found = read(keyed, 300, "0/signals")
    send(producer, range(300, 400))
    keyed.start(decoder(address))
    found += read(keyed, 100, "0/signals")
    assert Counter(found) == Counter(f"e{n}" for n in range(400))


def test_positions_without_lanes_are_taken_as_they_are(mock_broker: tuple[str, Producer]) -> None:
    """As the release wrote them that first read directly."""
    address, producer = mock_broker
    send(producer, range(300))
    keyed = Keyed(decoder(address))
    keyed.states["positions"]["0/signals"] = {("signals", p): 75 for p in range(PARTITIONS - 1)}
    found = read(keyed, 75, "0/signals")
    assert Counter(found) == Counter(f"e{n}" for n in range(PARTITIONS - 1, 300, PARTITIONS))


def test_progress_is_told_after_the_events(mock_broker: tuple[str, Producer]) -> None:
    address, producer = mock_broker
    send(producer, range(100))
    keyed = Keyed(decoder(address))
    sent = keyed.element("0/signals", None)
    end = time.monotonic() + 10
    while not any(row[1][1] is None for _, row in sent):
        assert time.monotonic() < end, "no watermark"
        sent += keyed.pass_time(keyed.clock + WINDOW_MS)
        time.sleep(0.005)
    told = [row[1][0] for _, row in sent if row[1][1] is None]
    # the least of the partitions' newest, a second of disorder before it, and one millisecond
    assert told[-1] <= START + 99 - 1000 - 1
    assert told == sorted(told)


def test_lanes_share_the_partitions(mock_broker: tuple[str, Producer]) -> None:
    address, producer = mock_broker
    send(producer, range(100))
    found = read(Keyed(decoder(address, lanes=2)), 100, "0/signals", "1/signals")
    assert Counter(found) == Counter(f"e{n}" for n in range(100))


def test_another_number_of_lanes_is_refused(mock_broker: tuple[str, Producer]) -> None:
    address, producer = mock_broker
    send(producer, range(100))
    keyed = Keyed(decoder(address))
    read(keyed, 100, "0/signals")
    keyed.start(decoder(address, lanes=2))
    with pytest.raises(SourceError, match="1 lanes are, but 2 are set now"):
        keyed.element("0/signals", None)


class Scripted:
    """A reader that gives blocks of given sizes."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes, self.positions = sizes, {("signals", 0): 0}

    def read(self, most: int) -> list[Block]:
        n = self.sizes.pop(0)
        return [Block("signals", "signals", [b"{}"] * n, [0] * n, [0] * n, [0] * n)] if n else []

    def close(self) -> None:
        pass


def test_a_block_that_is_not_full_ends_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while a block is decoded is the next window's: a call of the engine costs as much for a few
    events as for hundreds."""
    reader = Scripted([5, 5, 3, 2, 0])
    monkeypatch.setattr(direct_reading, "PartitionReader", lambda *_: reader)
    keyed = Keyed(decoder("nowhere", max_block=5))
    keyed.element("0/signals", None)
    assert reader.sizes == [2, 0]
    keyed.pass_time(WINDOW_MS)
    assert reader.sizes == [0]
