"""The work on Quix Streams, which calls its functions record by record, except in a batching sink.

So the model runs where its documentation puts work on batches: in a `BatchingSink`, that writes its scored
chunks to the results topic and flushes before the offsets are committed (at least once).
`python -m bench.peer_quix BOOTSTRAP RECORDS RESULTS MODEL`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import orjson
from confluent_kafka import Producer
from quixstreams import Application
from quixstreams.models import JSONDeserializer
from quixstreams.sinks import BatchingSink, SinkBatch

from bench.plain_model import load

BATCH = 1024
COMMIT_EVERY = 4 * BATCH
COMMIT_S = 0.02


class Score(BatchingSink):
    def __init__(self, bootstrap: str, topic: str, score: Callable[..., list[float]]) -> None:
        super().__init__()
        self._topic, self._score = topic, score
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "batch.size": 262_144})

    def write(self, batch: SinkBatch) -> None:
        for chunk in batch.iter_chunks(BATCH):
            records: list[Any] = [item.value for item in chunk]
            for record, value in zip(records, self._score(records), strict=True):
                record["score"] = value
                self._producer.produce(self._topic, orjson.dumps(record))
            self._producer.poll(0)
        if self._producer.flush(60):
            raise RuntimeError("the broker did not take the results within 60 s")


def main(bootstrap: str, records: str, results: str, model: str) -> None:
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{records}",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        commit_every=COMMIT_EVERY,
        commit_interval=COMMIT_S,
        consumer_extra_config={"fetch.message.max.bytes": 4 << 20},
        loglevel="WARNING",
    )
    decoded = JSONDeserializer(loads=orjson.loads)
    stream = app.dataframe(app.topic(records, value_deserializer=decoded))
    stream.sink(Score(bootstrap, results, load(model)))
    print("ready", flush=True)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:5])
