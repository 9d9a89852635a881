"""Models replace each other on real Kafka: under 10,000 records a second, one that loads slowly stops nobody;
a SavedModel is replaced by gradient boosting in PMML that takes missing values."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from devservices.kafka import KafkaBroker
from devservices.process import Process, wait_until
from schemas.results.records import EventKind, ModelEvent
from schemas.results.results import Scored
from tests import models
from tests.feeder import Feeder
from tests.streams import Sent, Streams
from udfs.models.descriptor import WITHDRAW, build
from udfs.models.runtimes.base import PartialInput

PER_SECOND = 10_000
SLOW = (1, 64, 1024, *[65536] * 800)  # so much warm-up that a load takes seconds
EXPORT = "made.skl_xgbc_missing_num"
FIELDS = ("age", "income", "hours")


class Served:
    """A data type of a job and the topic of its records: what is said to it, and what comes out."""

    def __init__(self, job: Process, streams: Streams, data_type: str) -> None:
        self._job, self.streams, self._data_type = job, streams.of(data_type), data_type

    def publish(self, version: int, data: bytes, kind: str = "TENSORFLOWSAVED", **more: Any) -> None:
        self.streams.publish(
            build(data_type=self._data_type, name="m", model_type=kind, version=version, data=data, **more)
        )

    def events(self) -> list[ModelEvent]:
        return [e for e in self.streams.events() if e.data_type == self._data_type]

    def results(self) -> list[Scored]:
        return [r for r in self.streams.results() if r.data_type == self._data_type]

    def wait_events(self, *wanted: tuple[EventKind, int]) -> None:
        expected = Counter(wanted)
        wait_until(
            lambda: not expected - Counter((e.kind, e.version) for e in self.events()),
            180,
            lambda: f"of {wanted} there is {self.events()}\n{self._job.tail()}",
        )

    def wait_results(self, count: int, before: int = 0) -> None:
        """So many more than there were before on the topic, where nothing else comes meanwhile."""
        wait_until(
            lambda: self.streams.count("results") >= before + count,
            120,
            lambda: f"not {count} results\n{self._job.tail()}",
        )


@pytest.fixture(scope="module")
def job(kafka: KafkaBroker) -> Iterator[tuple[Process, Streams]]:
    """A job that serves both data types."""
    streams = Streams(kafka, records=("wine", "people"))
    slow = json.dumps({"wine": {"warm_up_batches": SLOW}})
    # between the withdrawal and the next model all records wait, on a slow machine for long
    buffer = json.dumps({"records": 10_000_000, "bytes": 1 << 40, "seconds": 300})
    with streams.running("serve.py", data_types=slow, buffer=buffer) as process:
        yield process, streams


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def records(rows: Sequence[dict[str, str]], start: int) -> list[Sent]:
    """An empty cell is null in every other record and absent in the rest."""
    sent = []
    for number, row in enumerate(rows, start):
        values: dict[str, Any] = {name: float(text) for name, text in row.items() if text}
        if number % 2:
            values |= {name: None for name, text in row.items() if not text}
        sent.append(Sent(json.dumps({"id": number, **values}).encode(), partition=number % 4, topic="people"))
    return sent


def test_missing_values_score_as_the_exporting_library_scores_them(
    job: tuple[Process, Streams], tmp_path: Path, shared_data: Path
) -> None:
    folder = shared_data / "pmml" / EXPORT
    if not folder.is_dir():
        pytest.skip("the shared exports are not beside the checkout")
    rows, expected = table(folder / "input.csv"), table(folder / "expected.csv")
    whole = [row for row in rows if all(row.values())]
    assert len(whole) < len(rows)
    people = Served(*job, "people")
    before = people.streams.count("results")
    constant = models.zipped(models.constant_saved_model(tmp_path / "constant", 1.0, width=len(FIELDS)))
    people.publish(1, constant, inputs=(PartialInput("x", fields=FIELDS),))
    people.wait_events((EventKind.SERVED, 1))
    people.streams.send(records(whole, 0))
    people.wait_results(len(whole), before)
    people.publish(2, (folder / "model.pmml").read_bytes(), "PMML")
    people.wait_events((EventKind.SERVED, 2))
    people.streams.send(records(rows, len(whole)))
    people.wait_results(len(whole) + len(rows), before)
    found = {r.record["id"]: r for r in people.results()}
    assert len(found) == len(whole) + len(rows) and people.streams.dead_letters() == []
    assert all(found[n].version == 1 and found[n].scores == {"y": 1.0} for n in range(len(whole)))
    for number, wanted in enumerate(expected, len(whole)):
        result = found[number]
        assert (result.version, result.model) == (2, "m")
        assert str(result.scores["predicted_y"]) == wanted["y"]
        for name in ("probability(0)", "probability(1)"):
            assert result.scores[name] == pytest.approx(float(wanted[name]), rel=1e-4)


def test_models_are_swapped_under_load(job: tuple[Process, Streams], tmp_path: Path) -> None:
    constants = {v: models.zipped(models.constant_saved_model(tmp_path / str(v), v)) for v in (1, 2, 3, 4)}
    wine = Served(*job, "wine")
    wine.publish(1, constants[1])
    wine.wait_events((EventKind.SERVED, 1))
    before = wine.streams.count("results")
    with Feeder(wine.streams, PER_SECOND) as feeder:
        wine.wait_results(1001, before)
        wine.publish(2, constants[2])
        wine.wait_events((EventKind.SERVED, 2))
        wine.publish(7, b"no archive at all")
        wine.wait_events((EventKind.REFUSED, 7))  # until then all others are older
        wine.publish(1, constants[3])  # an older version
        wine.publish(2, constants[2])  # what serves already
        wine.wait_events((EventKind.REFUSED, 1), (EventKind.ALREADY_SERVED, 2))
        wine.publish(3, constants[3])
        wine.wait_events((EventKind.SERVED, 3))
        wine.streams.publish(build(data_type="wine", name="m", operation=WITHDRAW))
        wine.wait_events((EventKind.WITHDRAWN, 3))
        wine.publish(4, constants[4])
        wine.wait_events((EventKind.SERVED, 4))
        sent = feeder.stop()
    wine.wait_results(sent, before)
    results = wine.results()
    assert len(results) == sent > 0
    assert {(r.partition, r.offset) for r in results} == {
        (r.record["id"] % 4, r.record["id"] // 4) for r in results
    }
    assert Counter(r.record["id"] for r in results) == Counter(range(sent))
    assert all(r.scores == {"y": r.version} for r in results)
    assert {r.version for r in results} == {1, 2, 3, 4}
    # records sent while version 2 was loading were scored by version 1 before it was there
    (served,) = (e for e in wine.events() if (e.kind, e.version) == (EventKind.SERVED, 2))
    meanwhile = [r for r in results if served.at - served.load_ms < r.event_time < served.at]
    assert sum(r.version == 1 for r in meanwhile) > len(meanwhile) / 2 > 0
    # batches of one partition stay in order, and so do the versions along it
    for partition in range(4):
        rows = sorted((r.offset, r.version) for r in results if r.partition == partition)
        assert [v for _, v in rows] == sorted(v for _, v in rows)
    assert wine.streams.dead_letters() == []
