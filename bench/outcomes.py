"""`python -m bench.outcomes`: how many results meet their outcomes in a second at one slot, and what a
prediction costs in state while it waits. The last line is JSON.

Both topics are full before the job starts: rates are of a job that is never idle, and are taken from what the
job itself counts, after a third of the pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer

from bench.plan import BenchError
from bench.report import say
from bench.topics import BULK, RunTopics, send
from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, ServiceError, environment, wait_until
from schemas.lifecycle.quality import OutcomeCounts, read_message
from schemas.micro_batch import MicroBatch
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.outcomes.messages import KeyEntry, Waiting, encode
from udfs.lifecycle.outcomes.reading import Reader

_HOUR = 3_600_000
_OUTPUTS = ("quality", "evidence", "outcome-counts", "dead-letters")
_FIELDS = {"country": "string", "amount": "float64"}


def _result(n: int, at: int) -> bytes:
    record = {"id": n, "customer": f"c{n % 5000}", "country": ("de", "fr", "it")[n % 3], "amount": n % 97 / 7}
    stamp = {"data_type": "wine", "outcome": "scored", "model": "forest", "version": 1 + n % 2}
    stamp |= {"digest": "9c1185a5c5e9fc54", "ms": 0.41, "scores": {"p": n % 1000 / 1000}}
    identity = {"source": "wine", "partition": n % 4, "offset": n // 4, "event_time": at}
    return json.dumps({**record, "millrace": {**stamp, **identity}}, separators=(",", ":")).encode()


def _outcome(n: int, at: int) -> bytes:
    identity = f'"source":"wine","partition":{n % 4},"offset":{n // 4}'
    return f'{{{identity},"label":{"true" if n % 3 else "false"},"at":{at + 5}}}'.encode()


class Bench(RunTopics):
    """Topics of one run, and the job on a cluster of one slot."""

    def __init__(self, broker: KafkaBroker, cluster: StandaloneCluster, folder: Path) -> None:
        super().__init__(broker, 4, ["results", "outcomes"], _OUTPUTS)
        self.cluster = cluster
        self._folder = folder / self.prefix

    def fill(self, which: str, messages: Iterator[bytes]) -> None:
        producer = Producer(BULK | {"bootstrap.servers": self.broker.bootstrap})
        for number, message in enumerate(messages):
            send(producer, self.name(which), message, partition=number % self.partitions)
        if producer.flush(120):
            raise BenchError(f"the broker has not taken all messages of {which}")

    def start(self, state: str, store: bool) -> str:
        judged = {"score": "p", "time": "at", "entity": "customer", "fields": _FIELDS, "slices": ["country"]}
        flags: dict[str, Any] = {"name": f"bench-{self.prefix}", "state": state}
        flags |= {"data-types": json.dumps({"wine": judged}), "quality.seconds": 0.5}
        flags |= {"attribution-seconds": 86_400, "checkpoint-seconds": 10}
        flags |= {"kafka.bootstrap": self.broker.bootstrap, "kafka.group": self.prefix}
        for name in ("results", "outcomes", *_OUTPUTS):
            flags[f"kafka.{name}"] = self.name(name)
        if store:
            flags["store.url"] = str(self._folder)
        parts = [str(part) for name, value in flags.items() for part in (f"--{name}", value)]
        job = self.cluster.run(ROOT / "jobs" / "outcomes.py", *parts, parallelism=1)
        self.cluster.wait_running(job, 180)
        return job

    def counts(self, reader: Consumer) -> list[OutcomeCounts]:
        """What has been told since the last call."""
        found = reader.consume(1000, 0.2)
        return [read_message(OutcomeCounts, m.value() or b"") for m in found if not m.error()]


def _joined(bench: Bench, pairs: int, limit_s: float) -> float:
    """Pairs a second, after the first third. Raises `BenchError` where they do not all meet."""
    told: list[tuple[int, int]] = []
    reader = bench.reader("outcome-counts")

    def all_met() -> bool:
        told.extend((c.at, c.predictions.get("joined", 0)) for c in bench.counts(reader))
        return bool(told) and told[-1][1] >= pairs

    wait_until(all_met, limit_s, lambda: f"{told[-1:]} of {pairs} pairs have met")
    reader.close()
    if told[-1][1] != pairs:
        raise BenchError(f"{told[-1][1]} pairs have met, of {pairs}")
    warm = next(one for one in told if one[1] >= pairs / 3)
    last = next(one for one in told if one[1] >= pairs)
    return (last[1] - warm[1]) / max(last[0] - warm[0], 1) * 1000


def _waiting(bench: Bench, count: int, limit_s: float) -> tuple[float, float]:
    """Predictions taken in a second while none has its outcome, and seconds for all of them."""
    reader, told, began = bench.reader("outcome-counts"), list[tuple[int, int]](), time.monotonic()

    def all_there() -> bool:
        told.extend((c.at, c.waiting_predictions) for c in bench.counts(reader))
        return bool(told) and told[-1][1] >= count

    wait_until(all_there, limit_s, lambda: f"{told[-1:]} of {count} predictions wait")
    reader.close()
    last = next(one for one in told if one[1] >= count)
    rate = last[1] / max(last[0] - told[0][0], 1) * 1000 if told[0] != last else float("nan")
    return rate, time.monotonic() - began


def _checkpoint_bytes(cluster: StandaloneCluster, job: str, after: int) -> int:
    """The size of all state in the next completed checkpoint."""

    def latest() -> dict[str, Any]:
        return cluster.rest.call(f"/jobs/{job}/checkpoints")["latest"]["completed"] or {}

    wait_until(lambda: latest().get("trigger_timestamp", 0) > after, 120, lambda: "no checkpoint completes")
    return int(latest()["state_size"])  # with incremental checkpoints too: of all that it refers to


def entry_bytes() -> int:
    """What the join writes to state for a waiting prediction, with its key; the backend adds its own."""
    payload = _result(123_457, 1_790_000_000_000)
    judging = Judging(score="p", time="at", entity="customer", fields=_FIELDS, slices=("country",))
    read = Reader({"wine": judging}, 1, 1).results(MicroBatch("r", "r", [payload], [0], [0], [0]))
    ((key, _, packed),) = read.deliveries[0].predictions[0]
    return len(key) + len(pickle.dumps(encode(KeyEntry([Waiting(packed, 1_790_086_460_000)])), -1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.outcomes", description=__doc__)
    parser.add_argument("--pairs", type=int, default=600_000, help="results, and as many outcomes; 0: none")
    parser.add_argument("--waiting", type=int, default=300_000, help="predictions that wait, on RocksDB")
    parser.add_argument("--no-store", action="store_true", help="leave out the run with a prediction store")
    options = parser.parse_args()
    os.environ.update(environment())
    found: dict[str, Any] = {"pairs": options.pairs, "state_bytes_a_prediction": entry_bytes()}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder,
            KafkaBroker(heap="1g") as broker,
        ):
            for name, state, store in (
                ("memory", "memory", False),
                ("rocksdb", "rocksdb", False),
                ("memory, store", "memory", True),
            ):
                if not options.pairs or (store and options.no_store):
                    continue
                with StandaloneCluster() as cluster, Bench(broker, cluster, Path(folder)) as bench:
                    found[f"joined_a_second, {name}"] = _run_joined(bench, options.pairs, state, store)
                say(f"{name}: {found[f'joined_a_second, {name}']:,} pairs a second")
            with StandaloneCluster() as cluster, Bench(broker, cluster, Path(folder)) as bench:
                found["waiting"] = _run_waiting(bench, options.waiting)
            say(f"waiting: {found['waiting']}")
    except (BenchError, ServiceError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


def _run_joined(bench: Bench, pairs: int, state: str, store: bool) -> int:
    start = time.time_ns() // 1_000_000 - _HOUR
    bench.fill("results", (_result(n, start + n // 100) for n in range(pairs)))
    bench.fill("outcomes", (_outcome(n, start + n // 100) for n in range(pairs)))
    job = bench.start(state, store)
    rate = _joined(bench, pairs, 60 + pairs / 2000)
    bench.cluster.rest.cancel(job)
    return round(rate)


def _run_waiting(bench: Bench, count: int) -> dict[str, Any]:
    start = time.time_ns() // 1_000_000 - _HOUR
    bench.fill("results", (_result(n, start + n // 1000) for n in range(count)))
    job = bench.start("rocksdb", False)
    rate, _ = _waiting(bench, count, 120 + count / 2000)
    size = _checkpoint_bytes(bench.cluster, job, time.time_ns() // 1_000_000)
    bench.fill("outcomes", (_outcome(n, start + n // 1000) for n in range(0, count, max(1, count // 20_000))))
    wanted = len(range(0, count, max(1, count // 20_000)))
    late = _joined(bench, wanted, 300)
    bench.cluster.rest.cancel(job)
    return {
        "predictions": count,
        "taken_in_a_second": round(rate),
        "checkpoint_bytes_a_prediction": round(size / count, 1),
        "joined_a_second_beside_them": round(late),
    }


if __name__ == "__main__":
    sys.exit(main())
