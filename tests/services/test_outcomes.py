"""Results meet outcomes on a real cluster: a task manager dies, a savepoint is restored; nothing is lost."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pyarrow.dataset as ds
import pytest

from devservices.flink_cluster import StandaloneCluster
from devservices.kafka import KafkaBroker
from devservices.process import ROOT, wait_until
from schemas.lifecycle.quality import OutcomeCounts, QualityRecord, read_message
from tests.outcome_cases import key_of, outcome, result
from tests.streams import Sent, Streams
from udfs.io.folder_files import visible_files
from udfs.io.s3 import S3Options
from udfs.lifecycle.outcomes.stored import stored_quality, told_apart_by
from udfs.lifecycle.quality.exchange import from_plain
from udfs.lifecycle.quality.windows import Quality

COUNT = 6_000
OUTPUTS = ("quality", "evidence", "outcome-counts")
CONFIG = """
attribution_seconds = 3600
grace_seconds = 3600
checkpoint_seconds = 1
state = "rocksdb"
[data_types.wine]
score = "p"
label = "bought"
time = "at"
entity = "customer"
fields = {country = "string"}
slices = ["country"]
[store]
url = "STORE"
roll_seconds = 1
compact = false  # Flink's own compaction cannot go from one instance to several
"""


class Topics:
    """Results and outcomes, and what the job says about them."""

    def __init__(self, kafka: KafkaBroker, folder: Path, mode: str) -> None:
        self._mode = mode
        self.streams = Streams(kafka, 2, ("scored", "outcomes"))
        kafka.create_topics(*map(self.streams.topic, OUTPUTS))
        self.store, self._config = folder / "store", folder / "outcomes.toml"
        self._config.write_text(CONFIG.replace("STORE", str(self.store)))

    def flags(self, parallelism: int) -> list[str]:
        topic = self.streams.topic
        flags = {"config": str(self._config), "name": f"outcomes-{self.streams.prefix}"}
        flags |= {"parallelism": str(parallelism), "mode": self._mode}
        flags |= {"kafka.bootstrap": self.streams.broker.bootstrap, "kafka.group": self.streams.prefix}
        flags |= {"kafka.exactly-once": "true"}
        flags["kafka.results"] = topic("scored")
        for name in ("outcomes", "dead-letters", *OUTPUTS):
            flags[f"kafka.{name}"] = topic(name)
        return [part for name, value in flags.items() for part in (f"--{name}", value)]

    def feed(self, topic: str, messages: list[dict[str, Any]]) -> None:
        lines = map(orjson.dumps, messages)
        self.streams.send(Sent(line, partition=n % 2, topic=topic) for n, line in enumerate(lines))

    def rows(self) -> list[dict[str, Any]]:
        """What the store holds, in committed files."""
        files = [str(path) for path in visible_files(self.store)] if self.store.is_dir() else []
        columns = ["offset", "fate", "revision", "outcome", "replaced"]
        return ds.dataset(files, format="parquet").to_table(columns).to_pylist() if files else []

    def fates(self) -> tuple[dict[str, int], dict[str, int]]:
        """Of predictions and of outcomes, over all instances."""
        told = [(m.key(), m.value() or b"") for m in self.streams.read("outcome-counts")]
        newest = [read_message(OutcomeCounts, value) for value in dict(told).values()]
        predictions, outcomes = Counter[str](), Counter[str]()
        for counts in newest:
            predictions.update(counts.predictions)
            outcomes.update(counts.outcomes)
        return dict(predictions), dict(outcomes)

    def quality(self) -> Quality:
        """What was told last."""
        told = {m.key(): read_message(QualityRecord, m.value() or b"") for m in self.streams.read("quality")}
        return Quality({key_of(r): from_plain(r.kind, r.sums) for r in told.values()})

    def positives(self) -> int:
        """Outcomes of the positive class, as quality was told last."""
        return sum(int(sums.positives.sum()) for sums in told_apart_by(self.quality(), ()).sums.values())

    def wait_rows(self, flink: StandaloneCluster, count: int) -> None:
        wait_until(
            lambda: len(self.rows()) >= count, 240, lambda: f"{len(self.rows())} of {count}\n{flink.logs(15)}"
        )


@pytest.mark.parametrize(("mode", "parallelisms"), [("thread", (1, 2)), ("process", (2, 1))])
def test_nothing_is_lost_or_doubled_by_a_death_and_a_savepoint_at_another_parallelism(
    kafka: KafkaBroker, flink: StandaloneCluster, tmp_path: Path, mode: str, parallelisms: tuple[int, int]
) -> None:
    before, after = parallelisms
    rng, start = random.Random(3), time.time_ns() // 1_000_000 - COUNT
    stamps = [{"experiments": {"e": {"arm": rng.choice("ab"), "step": 0}}} for _ in range(COUNT)]
    results = [result(n, start + n, rng.random(), stamp=stamps[n]) for n in range(COUNT)]
    first = [outcome(n, start + n + 5, rng.random() < 0.5) for n in range(COUNT)]
    second = [{**one, "at": one["at"] + 1, "bought": not one["bought"]} for one in first[::3]]
    topics = Topics(kafka, tmp_path, mode)
    third, job_file = COUNT // 3, ROOT / "jobs" / "outcomes.py"
    job = flink.run(job_file, *topics.flags(before), parallelism=before)
    try:
        flink.wait_running(job, 180)
        topics.feed("scored", results[: 2 * third])
        topics.feed("outcomes", first[:third])
        topics.wait_rows(flink, third)
        topics.feed("outcomes", first[third : 2 * third])
        while flink.task_managers:  # in the middle of the join
            flink.kill_task_manager(0)
        flink.add_task_manager(2)
        topics.feed("outcomes", first[2 * third :])  # before their predictions
        topics.wait_rows(flink, 2 * third)
        assert flink.rest.exceptions(job), "the job has not noticed that its task manager died"
        savepoint = flink.stop_with_savepoint(job)
        topics.feed("scored", [*results[2 * third :], *results[:9]])  # some again
        job = flink.run(job_file, *topics.flags(after), savepoint=savepoint, parallelism=after)
        flink.wait_running(job, 180)
        topics.wait_rows(flink, COUNT)
        topics.feed("outcomes", [*second, *second[:7]])  # corrections, and duplicates of them
        topics.wait_rows(flink, COUNT + len(second))
        settled = {"joined": COUNT, "correction": len(second), "duplicate": 7}
        wait_until(lambda: topics.fates()[1] == settled, 60, lambda: f"{topics.fates()}")
        bought = sum({one["offset"]: one["bought"] for one in [*first, *second]}.values())
        said = f"positives are told, and not {bought}"
        wait_until(lambda: topics.positives() == bought, 60, lambda: f"{topics.positives()} {said}")
        flink.stop_with_savepoint(job)  # commits what the sinks hold
    finally:
        if flink.rest.state(job) == "RUNNING":
            flink.rest.cancel(job)
    check(topics, first, second)


def check(topics: Topics, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    """Each prediction once with its outcome, and once more with its correction; all is counted so."""
    rows = topics.rows()
    expected = Counter((one["offset"], "joined", 1, float(one["bought"])) for one in first)
    expected += Counter((one["offset"], "correction", 2, float(one["bought"])) for one in second)
    assert Counter((r["offset"], r["fate"], r["revision"], r["outcome"]) for r in rows) == expected
    read = topics.streams.read
    assert topics.fates()[0] == {"joined": COUNT, "repeated": 9}
    assert not read("evidence"), "no window has closed"
    assert topics.streams.dead_letters() == []
    streamed = topics.quality()
    stored = stored_quality(str(topics.store / "wine"), S3Options(), window_ms=300_000, slices=("country",))
    for by in ((), ("arm",)):
        one, other = told_apart_by(streamed, by).sums, told_apart_by(stored, by).sums
        assert one.keys() == other.keys()
        for key, sums in one.items():
            assert sums.figures() == {
                name: pytest.approx(value, rel=1e-9, nan_ok=True)
                for name, value in other[key].figures().items()
            }
