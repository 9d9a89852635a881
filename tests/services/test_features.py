"""The feature job with real Kafka, Redis and S3: thirty thousand events, streamed and in batch, agree."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.redis import Redis
from devservices.s3proxy import S3Proxy
from tests.feature_cluster import FeatureCluster, newest, online_rows
from tests.feature_streams import VIEWS, declare, encoded, events, read_history, write_history
from tests.streams import Sent, Streams

COUNT, STEP_MS, ACCOUNTS = 30_000, 30, 90
BAD = {b"{": "unparsable", b'{"id": "x", "account": null, "at": 1}': "null", b"[]": "not_an_object"}


@pytest.fixture
def run(flink: StandaloneCluster, redis_server: Redis, s3: S3Proxy, tmp_path: Path) -> FeatureCluster:
    return FeatureCluster(flink, redis_server, s3, tmp_path)


def test_stream_and_batch_agree(run: FeatureCluster, kafka: KafkaBroker) -> None:
    start = time.time_ns() // 1_000_000 - STEP_MS * COUNT - 600_000
    sent = events(COUNT, start, STEP_MS, ACCOUNTS)
    again = random.Random(1).sample(sent, 500)
    streams = Streams(kafka, partitions=3, records=("signals",))
    records = [Sent(value, partition=i % 2, topic="signals") for i, value in enumerate(encoded(sent))]
    records += [Sent(value, partition=i % 2, topic="signals") for i, value in enumerate(encoded(again))]
    records += [Sent(value, topic="signals") for value in BAD]
    streams.send(records)  # the third partition has nothing, and must not hold back the others for ever
    file = run.folder / "views.toml"
    declared = declare(file, streams.topic("signals"), run.url("events"))
    write_history([*again, *reversed(sent)], run.url("events"), run.s3)

    kafka_flags = {
        "kafka__bootstrap": kafka.bootstrap,
        "kafka__start": "earliest",
        "kafka__group": run.bucket,
    }
    kafka_flags["kafka__dead_letters"] = streams.topic("dead-letters")
    run.to_the_end("features.py", run.flags(file, "streamed", bounded="true", **kafka_flags))
    streamed = read_history(declared, run.url("streamed"), run.s3)
    online = online_rows(run, declared, streamed)

    letters = Counter((letter.data_type, letter.code) for letter in streams.dead_letters())
    twice = sum(letters[view, code] for view in VIEWS for code in ("late", "duplicate"))
    assert twice == 3 * len(again), f"of each view that reads the source; all: {letters}"
    assert letters == {("signals", code): 1 for code in BAD.values()} | {
        key: n for key, n in letters.items() if key[0] != "signals"
    }
    assert len(streamed["spend_v1"]) == len(streamed["peak_v1"]) == COUNT
    assert len(streamed["busy_v1"]) > 100 and len(streamed["minutes_v2"]) > 1000

    flags = run.flags(file, "batch", dead_letters=str(run.folder / "dead"), slice_seconds="60")
    run.to_the_end("backfill.py", flags)
    batch = read_history(declared, run.url("batch"), run.s3)
    for view in VIEWS:
        mismatched = Counter(streamed[view]) - Counter(batch[view])
        missing = Counter(batch[view]) - Counter(streamed[view])
        assert (len(mismatched), len(missing)) == (0, 0), (view, list(mismatched)[:3], list(missing)[:3])
        assert online[view] == newest(batch[view])
    assert online_rows(run, declared, batch) == online, "a backfill beside the stream changes nothing"
