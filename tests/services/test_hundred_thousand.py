"""A hundred thousand records, one in twenty bad in one of many ways: all come out, each once, by its kind."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import orjson
import pytest

from devservices.kafka import KafkaBroker
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


def inputs() -> list[Sent]:
    now, bad = time.time_ns() // 1_000_000, list(BAD)

    def value(i: int) -> bytes:
        return bad[i // 20 % len(bad)] if i % 20 == 7 else orjson.dumps({"id": i, "x": [i, -i]})

    return [Sent(value(i), partition=i % 4, timestamp=now) for i in range(COUNT)]


@pytest.mark.parametrize("job", ["serve.py", "serve_partitioned.py"])
def test_all_come_out_once(kafka: KafkaBroker, tmp_path: Path, job: str) -> None:
    streams, sent = Streams(kafka), inputs()
    streams.send(sent)
    data = models.zipped(models.constant_saved_model(tmp_path / "m", 3))
    streams.publish(build(data_type="wine", model_type="TENSORFLOWSAVED", version=1, data=data))
    streams.run_until(COUNT, job)

    results, dead = streams.results(), streams.dead_letters()
    # at least once: a task that fails and starts again repeats results, and none may fail here
    assert len(results) == COUNT * 19 // 20 and len(results) + len(dead) == COUNT, streams.failures()
    assert {(r.outcome, r.version, r.scores["y"]) for r in results} == {(Outcome.SCORED, 1, 3.0)}
    # record i is at offset i // 4 of partition i % 4
    assert all(r.record["id"] == 4 * r.offset + r.partition for r in results)
    places = Counter((r.partition, r.offset) for r in results) + Counter(
        (d.partition, d.offset) for d in dead
    )
    assert places == Counter((i % 4, i // 4) for i in range(COUNT))
    for letter in dead:
        assert letter.code == BAD[sent[4 * letter.offset + letter.partition].value or b""], letter
