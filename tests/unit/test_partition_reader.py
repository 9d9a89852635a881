"""Blocks straight from partitions, against the broker that librdkafka brings along for tests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.block import Block
from schemas.errors import SettingsError, SourceError
from udfs.io.partition_reader import PartitionReader, Positions, TopicReading


def send(producer: Producer, count: int, topic: str = "wine", start: int = 0, partitions: int = 4) -> None:
    for n in range(start, start + count):
        producer.produce(topic, b"%d" % n, partition=n % partitions, timestamp=1000 + n)
    assert producer.flush(10) == 0


def reading(broker: str, **more: object) -> TopicReading:
    topics = {"wine": "wine", "tea": "tea"}
    return TopicReading(broker, **{"topics": topics, "group": "g", "timeout_s": 10.0, **more})  # type: ignore[arg-type]


def drain(reader: PartitionReader, count: int, most: int = 7) -> list[Block]:
    """Blocks until they hold so many records; no more may come."""
    found: list[Block] = []
    end = time.monotonic() + 10
    while sum(map(len, found)) < count:
        assert time.monotonic() < end, f"{sum(map(len, found))} of {count} records"
        found += reader.read(most)
    assert all(len(block) <= most for block in found)
    assert sum(map(len, found)) == count
    return found


def payloads(blocks: list[Block]) -> list[int]:
    return [int(payload) for block in blocks for payload in block.payloads]


def test_every_record_comes_once_with_its_place_and_time(mock_broker):
    address, producer = mock_broker
    send(producer, 50)
    reader = PartitionReader(reading(address), "wine", 0, None)
    blocks = drain(reader, 50)
    seen = [
        (int(payload), partition, offset, at)
        for b in blocks
        for payload, partition, offset, at in zip(
            b.payloads, b.partitions, b.offsets, b.event_times, strict=True
        )
    ]
    assert sorted(seen) == [(n, n % 4, n // 4, 1000 + n) for n in range(50)]
    assert {(b.data_type, b.source, b.keys, b.headers) for b in blocks} == {("wine", "wine", None, None)}
    assert reader.positions == {("wine", p): len(range(p, 50, 4)) for p in range(4)}
    assert reader.read(7) == []
    reader.close()


def test_keys_headers_and_deletions_come_along(mock_broker):
    address, producer = mock_broker
    producer.produce("wine", b"1", b"k", partition=0, headers={"trace": b"\x00\x1e"})
    producer.produce("wine", None, b"gone", partition=0)
    producer.produce("wine", b"3", partition=0)
    producer.flush(10)
    reader = PartitionReader(reading(address), "wine", 0, None)
    blocks = drain(reader, 3, most=100)
    assert [p for b in blocks for p in b.payloads] == [b"1", b"", b"3"]
    assert [k for b in blocks for k in (b.keys or [None] * len(b))] == [b"k", b"gone", None]
    headers = [h for b in blocks for h in (b.headers or [None] * len(b))]
    assert headers == [{"trace": b"\x00\x1e"}, None, None]
    reader.close()


@pytest.mark.parametrize("start", ["earliest", "latest", "committed"])
def test_what_is_known_counts_more_than_where_to_start(mock_broker, start):
    address, producer = mock_broker
    send(producer, 40)
    known: Positions = {("wine", p): 3 for p in range(4)}
    reader = PartitionReader(reading(address, start=start), "wine", 0, known)
    assert sorted(payloads(drain(reader, 28))) == list(range(12, 40))
    reader.close()


def test_latest_is_where_the_end_was_when_it_began(mock_broker):
    address, producer = mock_broker
    send(producer, 8)
    reader = PartitionReader(reading(address, start="latest"), "wine", 0, None)
    ends = dict(reader.positions)
    reader.close()
    assert ends == {("wine", p): 2 for p in range(4)}
    send(producer, 8, start=8)  # while nobody reads
    again = PartitionReader(reading(address, start="latest"), "wine", 0, ends)
    assert sorted(payloads(drain(again, 8))) == list(range(8, 16))
    again.close()


def test_partitions_that_are_new_after_a_restart_are_read_from_their_beginning(mock_broker):
    address, producer = mock_broker
    send(producer, 40)
    known: Positions = {("wine", 0): 10, ("wine", 1): 10}
    reader = PartitionReader(reading(address, start="latest"), "wine", 0, known)
    assert sorted(payloads(drain(reader, 20))) == [n for n in range(40) if n % 4 > 1]
    reader.close()


def test_lanes_share_the_partitions(mock_broker):
    address, producer = mock_broker
    send(producer, 40)
    readers = [PartitionReader(reading(address, lanes=3), "wine", lane, None) for lane in range(3)]
    found = [payloads(drain(reader, len(reader.positions) * 10)) for reader in readers]
    assert [len(reader.positions) for reader in readers] == [2, 1, 1]
    assert Counter(n for of in found for n in of) == Counter(range(40))
    for reader in readers:
        reader.close()


def test_a_block_is_of_one_topic(mock_broker):
    address, producer = mock_broker
    topics = {"wine": "drink", "tea": "drink"}
    send(producer, 20)
    send(producer, 20, "tea", start=100)
    reader = PartitionReader(reading(address, topics=topics), "drink", 0, None)
    blocks = drain(reader, 40, most=40)
    for block in blocks:
        assert all((int(payload) >= 100) == (block.source == "tea") for payload in block.payloads)
        assert block.data_type == "drink"
    reader.close()


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def committed(address: str, group: str) -> Callable[[], int]:
    consumer = Consumer({"bootstrap.servers": address, "group.id": group})
    places = [TopicPartition("wine", p) for p in range(4)]
    return lambda: sum(max(p.offset, 0) for p in consumer.committed(places, 10))


def test_the_group_is_told_what_was_read_a_while_ago(mock_broker):
    address, producer = mock_broker
    send(producer, 12)
    clock = Clock()
    reader = PartitionReader(reading(address, commit_lag_s=60.0), "wine", 0, None, clock)
    drain(reader, 12)
    told = committed(address, "g")
    reader.commit()
    clock.s = 59
    reader.commit()
    assert told() == 0
    send(producer, 4, start=12)
    drain(reader, 4)
    clock.s = 61  # of what was read at 0 s
    reader.commit()
    end = time.monotonic() + 10
    while told() != 12:
        assert time.monotonic() < end, told()
        reader.read(1)  # the answer is taken in on the way
    reader.close()
    again = PartitionReader(reading(address, start="committed"), "wine", 0, None)
    assert sorted(payloads(drain(again, 4))) == list(range(12, 16))
    again.close()


def test_who_is_not_there_is_named():
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1"):
        PartitionReader(reading("127.0.0.1:1", timeout_s=0.5), "wine", 0, None)


def test_a_property_that_nobody_knows_is_named(mock_broker):
    with pytest.raises(SourceError, match=r"no\.such\.thing"):
        PartitionReader(reading(mock_broker[0], client={"no.such.thing": "1"}), "wine", 0, None)
    with pytest.raises(SettingsError, match="JKS"):
        PartitionReader(reading(mock_broker[0], client={"ssl.truststore.location": "/x"}), "wine", 0, None)
