"""`python -m bench.watch`: what watching a stream costs beside serving it, in processor time of Python.

Serving is decoding micro-batches of 1,024 records, scoring them with the network of the other benchmarks, and
writing results. Watching is reading those results back and counting every field and the score by model
version and window, as the operator of `jobs/watch.py` does; at smaller samples it passes over the others. Of
wide records serving is decoding and writing alone, without a model, which is the least that it can be. Not in
it: reading from and writing to Kafka, which is Flink's work in the JVM, in both jobs. The last line is JSON.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import orjson

from bench import model as network
from bench.features import FIELDS
from bench.report import say
from schemas.codecs.json_codec import JsonCodec
from schemas.micro_batch import MicroBatch, decode_micro_batch, encode_micro_batch
from schemas.results.records import Outcome
from schemas.results.results import Identity, Stamp, write_results
from schemas.tensors import DType, Input
from udfs.lifecycle.statistics.profile import profile
from udfs.lifecycle.statistics.table import write_statistics
from udfs.lifecycle.watching.training_sets import TrainingPlaces
from udfs.lifecycle.watching.watched_records import sampled
from udfs.lifecycle.watching.window_counting import CountSpec
from udfs.models.descriptor import parse
from udfs.models.loading import LoadPolicy, load_model
from udfs.serving.scoring import score

BATCH, BATCHES, WIDE = 1024, 16, 200
SAMPLES = (1.0, 0.1, 0.01)
_SECONDS = 2.0
_NOW = 1_800_000_000_000


def main() -> None:
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        for name, fields in (("network of 11 fields", FIELDS), (f"{WIDE} fields", _wide())):
            payloads = _records(fields)
            batches = [_batch(payloads[at : at + BATCH], "t") for at in range(0, len(payloads), BATCH)]
            serve = _served(batches, Path(folder)) if fields is FIELDS else _written(fields)
            lines = [line for batch in batches for line in serve(batch)]
            served = _us_per_record(lambda batch, serve=serve: serve(batch), batches)  # type: ignore[misc]
            figures[name] = {"serving_us": served}
            say(f"{name}: serving {served:.2f} us a record")
            results = [_batch(lines[at : at + BATCH], "results") for at in range(0, len(lines), BATCH)]
            place = Path(folder, "training.statistics")
            place.write_bytes(write_statistics(profile(lambda p=payloads: [list(map(orjson.loads, p))])))  # type: ignore[misc]
            for share in SAMPLES:
                watched = _watched(results, str(place), share)
                figures[name] |= {f"watching_us_at_{share}": watched, f"cost_at_{share}": watched / served}
                say(f"  watching {share:.0%}: {watched:.2f} us a record, {watched / served:.1%} of serving")
    print(orjson.dumps({"watch": figures}).decode())


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


def _served(batches: Sequence[bytes], folder: Path) -> Callable[[bytes], list[bytes]]:
    described = network.descriptor(network.save(folder / "model"), data_type="bench")
    loaded = load_model(parse(described), LoadPolicy())
    codec = JsonCodec()
    return lambda data: score(decode_micro_batch(data), loaded, codec, True).lines


def _written(fields: Sequence[str]) -> Callable[[bytes], list[bytes]]:
    codec, inputs = JsonCodec(), tuple(Input(name, DType.FLOAT32, (), (name,)) for name in fields)
    stamp = Stamp("bench", "wide", 1, "0" * 64, Outcome.SCORED, 0.1)

    def written(data: bytes) -> list[bytes]:
        batch = decode_micro_batch(data)
        columns = codec.decode(batch.payloads, inputs).columns
        identity = Identity(batch.source, batch.partitions, batch.offsets, batch.event_times)
        return write_results(batch.payloads, stamp, identity, {"score": columns[fields[0]]})

    return written


def _watched(results: Sequence[bytes], place: str, share: float) -> float:
    spec = CountSpec(of="results", window_ms=60_000, places=TrainingPlaces({"bench": place}), sample=share)
    counting = spec.counting(spec.training_sets())

    def count(data: bytes) -> None:
        batch = decode_micro_batch(data)
        kept = sampled(batch, share)
        if kept is not batch:
            encode_micro_batch(kept)  # for the journal
        if len(kept):
            counting.add(kept, _NOW)

    return _us_per_record(count, results)


def _us_per_record(run: Callable[[bytes], object], batches: Sequence[bytes]) -> float:
    """Processor time, the least of rounds over all micro-batches within some seconds."""
    rounds: list[float] = []
    until = time.monotonic() + _SECONDS
    while len(rounds) < 3 or time.monotonic() < until:
        started = time.process_time()
        for data in batches:
            run(data)
        rounds.append((time.process_time() - started) / (len(batches) * BATCH) * 1e6)
    return min(rounds)


if __name__ == "__main__":
    main()
