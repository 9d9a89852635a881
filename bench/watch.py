"""`python -m bench.watch`: what watching a stream costs beside serving it, in processor time.

First in Python alone: serving is decoding micro-batches of 1,024 records, scoring them with the network of
the other benchmarks, and writing results. Counting is reading those results back and counting every field and
the score by model version and window, as the operator of `jobs/watch.py` does with the records of its sample.
Of wide records serving is decoding and writing alone, without a model, which is the least that it can be.
Then both as jobs on Kafka, by sample, with all that Flink does. The last line is JSON.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import orjson

from bench import model as network
from bench.features import FIELDS
from bench.plan import BenchError, Plan
from bench.report import say
from bench.watch_jobs import watch_jobs
from devservices.kafka import KafkaBroker
from devservices.process import ServiceError, environment
from schemas.codecs.json_codec import JsonCodec
from schemas.micro_batch import MicroBatch, decode_micro_batch, encode_micro_batch, record_count
from schemas.results.records import Outcome
from schemas.results.results import Identity, Stamp, write_results
from schemas.tensors import DType, Input
from udfs.lifecycle.statistics.profile import profile
from udfs.lifecycle.statistics.table import write_statistics
from udfs.lifecycle.watching.training_sets import TrainingPlaces
from udfs.lifecycle.watching.window_counting import CountSpec
from udfs.models.descriptor import parse
from udfs.models.loading import LoadPolicy, load_model
from udfs.serving.scoring import score

BATCH, BATCHES, WIDE = 1024, 16, 200
GATHERED = (1024, 100)
_SECONDS = 2.0
_NOW = 1_800_000_000_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.watch", description=__doc__)
    parser.add_argument("--records", type=int, default=1_500_000, help="for the jobs; 0: Python alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        kinds = {"network of 11 fields": FIELDS, f"{WIDE} fields": _wide()}
        figures = {name: in_python(name, fields, Path(folder)) for name, fields in kinds.items()}
        if options.records:
            os.environ.update(environment())
            try:
                with KafkaBroker(heap="1g") as broker:
                    figures["jobs"] = watch_jobs(broker, Plan(records=options.records), Path(folder, "jobs"))
            except (BenchError, ServiceError) as failure:
                print(f"error: {failure}", file=sys.stderr)
                return 1
    print(orjson.dumps({"watch": figures}).decode())
    return 0


def in_python(name: str, fields: Sequence[str], folder: Path) -> dict[str, float]:
    """Processor time in us of serving a record, and of counting a result, by the size of micro-batches."""
    payloads = _records(fields)
    batches = [_batch(payloads[at : at + BATCH], "t") for at in range(0, len(payloads), BATCH)]
    serve = _served(folder) if fields is FIELDS else _written(fields)
    lines = [line for batch in batches for line in serve(batch)]
    figures = {"serving_us": (served := _us_per_record(serve, batches))}
    say(f"{name}: serving {served:.2f} us a record")
    place = folder / "training.statistics"
    place.write_bytes(write_statistics(profile(lambda: [list(map(orjson.loads, payloads))])))
    for size in GATHERED:
        results = [_batch(lines[at : at + size], "results") for at in range(0, len(lines), size)]
        figures[f"counting_us_in_batches_of_{size}"] = counted = _watched(results, str(place))
        say(f"  counting in micro-batches of {size}: {counted:.2f} us a record that is counted")
    return figures


def _wide() -> tuple[str, ...]:
    return tuple(f"field_{k}" for k in range(WIDE))


def _records(fields: Sequence[str]) -> list[bytes]:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(BATCH * BATCHES, len(fields))).round(4).tolist()
    return [orjson.dumps(dict(zip(fields, row, strict=True))) for row in values]


def _batch(payloads: Sequence[bytes], source: str) -> bytes:
    n = len(payloads)
    times = [_NOW + at for at in range(n)]
    return encode_micro_batch(MicroBatch("bench", source, payloads, [0] * n, list(range(n)), times))


def _served(folder: Path) -> Callable[[bytes], Sequence[bytes]]:
    described = network.descriptor(network.save(folder / "model"), data_type="bench")
    loaded = load_model(parse(described), LoadPolicy())
    codec = JsonCodec()
    return lambda data: score(decode_micro_batch(data), loaded, codec, True).lines


def _written(fields: Sequence[str]) -> Callable[[bytes], Sequence[bytes]]:
    codec, inputs = JsonCodec(), tuple(Input(name, DType.FLOAT32, (), (name,)) for name in fields)
    stamp = Stamp("bench", "wide", 1, "0" * 64, Outcome.SCORED, 0.1)

    def written(data: bytes) -> Sequence[bytes]:
        batch = decode_micro_batch(data)
        columns = codec.decode(batch.payloads, inputs).columns
        identity = Identity(batch.source, batch.partitions, batch.offsets, batch.event_times)
        return write_results(batch.payloads, stamp, identity, {"score": columns[fields[0]]})

    return written


def _watched(results: Sequence[bytes], place: str) -> float:
    spec = CountSpec(of="results", window_ms=60_000, places=TrainingPlaces({"bench": place}))
    counting = spec.counting(spec.training_sets())
    return _us_per_record(lambda data: counting.add(decode_micro_batch(data), _NOW), results)


def _us_per_record(run: Callable[[bytes], object], batches: Sequence[bytes]) -> float:
    """Processor time, the least of rounds over all micro-batches within some seconds."""
    rounds: list[float] = []
    records = sum(map(record_count, batches))
    until = time.monotonic() + _SECONDS
    while len(rounds) < 3 or time.monotonic() < until:
        started = time.process_time()
        for data in batches:
            run(data)
        rounds.append((time.process_time() - started) / records * 1e6)
    return min(rounds)


if __name__ == "__main__":
    sys.exit(main())
