"""A hundred thousand records, some of them bad in one of many ways: all come out, each once, by its kind."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from faults import bad_records
from schemas.results.records import Outcome
from tests import models
from tests.streams import Sent, Streams
from udfs.models.descriptor import build

COUNT = 100_000
BAD = {
    b'{"x": [1, 2': "unparsable",
    b"": "unparsable",
    b"\x1e\xff": "unparsable",
    b"[1, 2]": "not_an_object",
    b'{"y": [1, 2]}': "missing_field",
    b'{"x": null}': "null",
    b'{"x": ["1", 2]}': "wrong_type",
    b'{"x": [1, 1e99]}': "not_finite",
    b'{"x": [1, 2, 3]}': "wrong_shape",
}


def mixed() -> list[Sent]:
    """One in ten is bad: by its bytes as above, or by size, depth, numbers, clock, key or headers."""
    chosen, now = random.Random(14), time.time_ns() // 1_000_000
    hostile = list(bad_records.hostile())
    large = [
        one for one in hostile if sum(map(len, (one.value or b"", one.key or b"", *_texts(one)))) > 50_000
    ]
    small = [one for one in hostile if one not in large]

    def bad(i: int) -> Sent:
        if chosen.random() < 0.5:
            return Sent(chosen.choice([*BAD]), partition=i % 4, timestamp=now)
        one = chosen.choice(large if chosen.random() < 0.02 else small)
        return Sent(one.value, one.key, tuple(one.headers), i % 4, one.time or now)

    wrong = {*chosen.sample(range(COUNT), COUNT // 10)}
    good = (orjson.dumps({"id": i, "x": [i, -i]}) for i in range(COUNT))
    return [bad(i) if i in wrong else Sent(v, partition=i % 4, timestamp=now) for i, v in enumerate(good)]


def _texts(one: bad_records.HostileRecord) -> list[bytes]:
    return [value or b"" for _, value in one.headers]


def aborted(streams: Streams, model: bytes) -> None:
    """A record of each partition, and a model, in a transaction that its producer takes back."""
    producer = Producer({"bootstrap.servers": streams.broker.bootstrap, "transactional.id": streams.prefix})
    producer.init_transactions(60)
    producer.begin_transaction()
    for partition in range(streams.partitions):
        producer.produce(streams.topic("wine"), b'{"id": -1, "x": [0, 0]}', partition=partition)
    producer.produce(streams.topic("models"), model)
    assert producer.flush(60) == 0
    producer.abort_transaction(60)
    # the markers of its end are written behind: what is sent next could come before them
    partitions = range(streams.partitions)
    wait_until(
        lambda: all(streams.count("wine", p) == 2 for p in partitions), 60, lambda: "no markers of the end"
    )


@pytest.fixture(scope="module")
def filled(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> tuple[Streams, list[Sent]]:
    """Topics of records and of models, and the records; before them is what was taken back."""
    streams, sent = Streams(kafka), mixed()
    aborted(streams, build(data_type="wine", version=2, data=models.constant_frozen_graph(5)))
    streams.send(sent)
    data = models.zipped(models.constant_saved_model(tmp_path_factory.mktemp("model") / "m", 3))
    streams.publish(build(data_type="wine", model_type="TENSORFLOWSAVED", version=1, data=data))
    return streams, sent


@pytest.mark.parametrize(("job", "parallelism"), [("serve.py", "2"), ("serve_partitioned.py", "1")])
def test_what_goes_in_is_results_and_dead_letters(  # noqa: PLR0917
    kafka: KafkaBroker,
    flink: StandaloneCluster,
    filled: tuple[Streams, list[Sent]],
    tmp_path: Path,
    job: str,
    parallelism: str,
) -> None:
    (read, sent), streams = filled, Streams(kafka)
    topics = {
        "kafka__records": json.dumps({read.topic("wine"): "wine"}),
        "kafka__models": read.topic("models"),
    }
    store = (tmp_path / "store").as_uri()
    arguments = streams.arguments(parallelism=parallelism, model_store=store, **topics)
    running = flink.run(ROOT / "jobs" / job, *arguments)
    wait_until(lambda: streams.count("results") + streams.count("dead-letters") >= COUNT, 240, flink.logs)
    flink.rest.cancel(running)
    results, dead = streams.results(), streams.dead_letters()
    # before them, in each partition: one record of the transaction, and its end
    places = Counter((one.partition, one.offset - 2) for one in (*results, *dead))
    # at least once: a task that fails and starts again repeats results, and none may fail here
    assert places == Counter((i % 4, i // 4) for i in range(COUNT)), flink.rest.exceptions(running)
    scored = [r for r in results if r.outcome is Outcome.SCORED]
    assert {(r.version, r.scores["y"]) for r in scored} == {(1, 3.0)}
    # record i is at offset i // 4 of partition i % 4
    places_by_id = {r.record["id"]: 4 * (r.offset - 2) + r.partition for r in scored if "id" in r.record}
    assert places_by_id == {i: i for i, one in enumerate(sent) if (one.value or b"").startswith(b'{"id"')}
    assert len(places_by_id) == COUNT * 9 // 10
    for letter in dead:
        value = sent[4 * (letter.offset - 2) + letter.partition].value
        assert value not in BAD or letter.code == BAD[value], letter
