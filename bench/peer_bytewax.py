"""The work on Bytewax: Kafka source in batches, one batch operator, Kafka sink. One worker.

Batches go through `flat_map_batch`, which its documentation gives for work on whole batches. No recovery
store, which is its default. `python -m bench.peer_bytewax BOOTSTRAP RECORDS RESULTS MODEL`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.testing import cluster_main

from bench.plain_model import load

BATCH = 1024


def main(bootstrap: str, records: str, results: str, model: str) -> None:
    score = load(model)

    def scored(messages: list[KafkaSourceMessage]) -> Iterator[KafkaSinkMessage]:
        if not messages:
            return
        decoded = [orjson.loads(m.value) for m in messages]
        for each, value in zip(decoded, score(decoded), strict=True):
            each["score"] = value
            yield KafkaSinkMessage(None, orjson.dumps(each))

    flow = Dataflow("bench")
    more = {"fetch.message.max.bytes": str(4 << 20)}
    source = KafkaSource([bootstrap], [records], batch_size=BATCH, add_config=more)
    stream = op.input("records", flow, source)
    # The sink flushes after each batch, so that a linger would only delay it.
    sink = KafkaSink([bootstrap], results, add_config={"linger.ms": "0"})
    op.output("results", op.flat_map_batch("score", stream, scored), sink)
    print("ready", flush=True)
    cluster_main(flow, [], 0)


if __name__ == "__main__":
    main(*sys.argv[1:5])
