"""The bare loop: consume, decode, score, encode, produce, and nothing that a stream processor is for.

`python -m bench.bare_loop BOOTSTRAP RECORDS_TOPIC RESULTS_TOPIC MODEL BATCH`; says `ready`, and runs on.
"""

from __future__ import annotations

import sys

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.plain_model import load


def main(bootstrap: str, records: str, results: str, model: str, batch: int) -> None:
    score = load(model)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bare",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 4 << 20,
            "queued.min.messages": 200_000,
        }
    )
    found = consumer.list_topics(records, 30).topics[records].partitions
    consumer.assign([TopicPartition(records, partition, 0) for partition in found])
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "batch.size": 262_144,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    print("ready", flush=True)
    while True:
        messages = consumer.consume(batch, 1.0)
        decoded = [orjson.loads(m.value() or b"") for m in messages if m.error() is None]
        if not decoded:
            continue
        for each, value in zip(decoded, score(decoded), strict=True):
            each["score"] = value
            line = orjson.dumps(each)
            while True:
                try:
                    producer.produce(results, line)
                    break
                except BufferError:
                    producer.poll(0.05)
        producer.poll(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
