"""Models replace each other under 10,000 records a second; one that loads slowly stops nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from schemas.results.records import EventKind
from tests import models
from tests.feeder import Feeder
from tests.streams import Streams
from udfs.models.descriptor import WITHDRAW, build

PER_SECOND = 10_000
SLOW = (1, 64, 1024, *[65536] * 800)  # so much warm-up that a load takes seconds


def descriptor(data: bytes, version: int, data_type: str = "wine", **more: object) -> bytes:
    kind = "TENSORFLOWSAVED"
    return build(data_type=data_type, name="c", model_type=kind, version=version, data=data, **more)  # type: ignore[arg-type]


def test_models_are_swapped_under_load(kafka: KafkaBroker, tmp_path: Path) -> None:
    constants = {v: models.zipped(models.constant_saved_model(tmp_path / str(v), v)) for v in (1, 2, 3, 4)}
    streams = Streams(kafka)

    def events(*wanted: tuple[EventKind, int]) -> None:
        expected = Counter(wanted)
        wait_until(
            lambda: not expected - Counter((e.kind, e.version) for e in streams.events()),
            120,
            lambda: f"of {wanted} there is {streams.events()}",
        )

    def swap(version: int, data: bytes) -> None:
        streams.publish(descriptor(data, version))

    slow = json.dumps({"wine": {"warm_up_batches": SLOW}})
    # between the withdrawal and the next model all records wait, on a slow machine for long
    buffer = json.dumps({"records": 10_000_000, "bytes": 1 << 40, "seconds": 300})
    arguments = streams.arguments(data_types=slow, buffer=buffer)
    log = (tmp_path / "job.log").open("w")
    job = subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / "serve.py"), *arguments],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        swap(1, constants[1])
        events((EventKind.SERVED, 1))
        with Feeder(streams, PER_SECOND) as feeder:
            wait_until(lambda: streams.count("results") > 1000, 60, lambda: "no results")
            swap(2, constants[2])
            events((EventKind.SERVED, 2))
            swap(7, b"no archive at all")
            events((EventKind.REFUSED, 7))  # until then all others are older
            swap(1, constants[3])  # an older version
            swap(2, constants[2])  # what serves already
            events((EventKind.REFUSED, 1), (EventKind.ALREADY_SERVED, 2))
            swap(3, constants[3])
            events((EventKind.SERVED, 3))
            streams.publish(build(data_type="wine", name="c", operation=WITHDRAW))
            events((EventKind.WITHDRAWN, 3))
            swap(4, constants[4])
            events((EventKind.SERVED, 4))
            sent = feeder.stop()
        wait_until(lambda: streams.count("results") >= sent, 120, lambda: f"{sent} sent, not all came out")
    finally:
        job.terminate()
        job.wait(60)
        log.close()
    results = streams.results()
    assert len(results) == sent > 0
    assert {(r.partition, r.offset) for r in results} == {
        (r.record["id"] % 4, r.record["id"] // 4) for r in results
    }
    assert Counter(r.record["id"] for r in results) == Counter(range(sent))
    assert all(r.scores == {"y": r.version} for r in results)
    assert {r.version for r in results} == {1, 2, 3, 4}
    # records sent while version 2 was loading were scored by version 1 before it was there
    (served,) = (e for e in streams.events() if (e.kind, e.version) == (EventKind.SERVED, 2))
    meanwhile = [r for r in results if served.at - served.load_ms < r.event_time < served.at]
    assert sum(r.version == 1 for r in meanwhile) > len(meanwhile) / 2 > 0
    # batches of one partition stay in order, and so do the versions along it
    for partition in range(4):
        rows = sorted((r.offset, r.version) for r in results if r.partition == partition)
        assert [v for _, v in rows] == sorted(v for _, v in rows)
    assert streams.dead_letters() == []
