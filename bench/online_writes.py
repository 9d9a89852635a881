"""Writes to the online store: our writer against redis-benchmark's pipelined HSET of the same sizes."""

from __future__ import annotations

import csv
import subprocess
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import redis

from bench.plan import BenchError
from devservices.process import environment
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import CREATED, TIMESTAMP, FeatureBatch
from udfs.stores.online.base import RedisOptions, StoredView
from udfs.stores.online.layout import KeyLayout, time_field
from udfs.stores.online.redis_writer import RedisWriter

_DAY = 86_400_000
_PIPELINE = 100


@dataclass(frozen=True, slots=True)
class Rates:
    """Rows (hashes) a second, and the server's processor time of a row in microseconds, which says more where
    others use the machine; of each the best of the rounds."""

    writer: float
    redis_benchmark: float
    writer_server_us: float
    redis_benchmark_server_us: float
    command: str

    @property
    def share(self) -> float:
        return self.writer / self.redis_benchmark


def measure(client: redis.Redis, rows: int, features: int = 11, batch: int = 1000, rounds: int = 3) -> Rates:
    """Rows of `features` float64 values for one of 20,000 entities, in turns with redis-benchmark, which sets
    as many fields of as many bytes in hashes with keys as long, by one connection, 100 commands a pipeline.

    Both write to the same keys in each round, so that but for the first they replace what is there.
    `client`: of a server without password and TLS on this machine; its database is emptied.
    """
    address = client.connection_pool.connection_kwargs
    host, port, entities = str(address["host"]), int(address["port"]), 20_000
    named = tuple((f"feature_{i}", FeatureType.FLOAT64) for i in range(features))
    view = StoredView("bench_v1", (("account", FeatureType.INT64),), named, _DAY)
    options = RedisOptions(url=f"redis://{host}:{port}")
    start = int(time.time() * 1000) - rounds * rows
    key = KeyLayout(view, options.project).keys_of([(0,)], ["account"])[0]
    stamp = 12  # bytes of an event time of these years with milliseconds
    fields = [(time_field(view.id).decode(), "t" * stamp), *((f"f{i:03d}", "v" * 9) for i in range(features))]
    command = [
        *("redis-benchmark", "-h", host, "-p", str(port), "-n", str(rows), "-r", str(entities)),
        *("-c", "1", "-P", str(_PIPELINE), "--csv", "HSET", "k" * (len(key) - 12) + "__rand_int__"),
        *(text for pair in fields for text in pair),
    ]
    rates: list[tuple[float, float]] = []
    used: list[tuple[float, float]] = []
    client.flushdb()
    for number in range(rounds):
        batches = _batches(view, rows, batch, entities, start + number * rows)
        marks = [_processor_s(client)]
        ours = _write(RedisWriter(view, options), batches)
        marks.append(_processor_s(client))
        theirs = _benchmark(command)
        marks.append(_processor_s(client))
        rates.append((ours, theirs))
        used.append((marks[1] - marks[0], marks[2] - marks[1]))
    ours, theirs = (max(each) for each in zip(*rates, strict=True))
    our_s, their_s = (min(each) for each in zip(*used, strict=True))
    return Rates(ours, theirs, our_s / rows * 1e6, their_s / rows * 1e6, " ".join(command))


def _processor_s(client: redis.Redis) -> float:
    used: Any = client.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def _batches(view: StoredView, rows: int, batch: int, entities: int, now: int) -> list[FeatureBatch]:
    rng = np.random.default_rng(1)
    made = []
    for start in range(0, rows, batch):
        size = min(batch, rows - start)
        times = pa.array(np.full(size, now + start))
        columns: dict[str, pa.Array] = {"account": pa.array(rng.choice(entities, size, replace=False))}
        columns |= {name: pa.array(rng.random(size)) for name, _ in view.features}
        columns |= {TIMESTAMP: times, CREATED: times}
        made.append(FeatureBatch(view.id, True, pa.RecordBatch.from_pydict(columns)))
    return made


def _write(writer: RedisWriter, batches: list[FeatureBatch]) -> float:
    began, written = time.perf_counter(), 0
    for batch in batches:
        written += writer.write(batch).written
    seconds = time.perf_counter() - began
    writer.close()
    if written != sum(batch.rows.num_rows for batch in batches):
        raise BenchError(f"only {written} rows were written")
    return written / seconds


def _benchmark(command: list[str]) -> float:
    done = subprocess.run(command, env=dict(environment()), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"redis-benchmark failed: {done.stderr.strip()}")
    return float(list(csv.reader(done.stdout.splitlines()))[-1][1])
