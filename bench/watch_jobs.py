"""What watching costs beside serving as whole jobs: processor time of Flink and Python together."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import orjson
from confluent_kafka import Consumer, TopicPartition

from bench.model import save
from bench.plan import Plan
from bench.processes import cpu_seconds
from bench.report import say
from bench.results import Results
from bench.subjects import ClusterJob, JobSpec, ServingJob
from bench.throughput import Throughput, between_marks
from bench.workload import DATA_TYPE, Topics, fill, record, rests
from devservices.kafka import KafkaBroker
from udfs.lifecycle.statistics.profile import profile
from udfs.lifecycle.statistics.table import write_statistics

SAMPLES = (1.0, 0.1, 0.01)
_OUTPUTS = ("statistics", "alerts")


class WatchingJob(ClusterJob):
    """`jobs/watch.py` on the results of a serving job, with the training statistics in a file."""

    def __init__(self, topics: Topics, training: Path, sample: float) -> None:
        super().__init__(JobSpec("watch.py"))
        self.topics, self._training, self._sample = topics, training, sample
        self._group = f"{topics.prefix}-watch-{sample}"

    def settings(self) -> dict[str, str]:
        topics = self.topics
        return {
            "name": self._group,
            "sample": str(self._sample),
            "checkpoint-seconds": "1",
            "data-types": json.dumps({DATA_TYPE: {"training": str(self._training)}}),
            "kafka.bootstrap": topics.broker.bootstrap,
            "kafka.group": self._group,
            "kafka.start": "earliest",
            "kafka.results": json.dumps([topics.name("results")]),
            **{f"kafka.{which}": topics.name(which) for which in _OUTPUTS},
        }

    def read(self, reader: Consumer) -> int:
        """How many results are read, as of the last checkpoint."""
        places = [TopicPartition(self.topics.name("results"), p) for p in range(self.topics.partitions)]
        return sum(max(place.offset, 0) for place in reader.committed(places, timeout=10))

    def reader(self) -> Consumer:
        return self.topics.reader(**{"group.id": self._group})


def watch_jobs(broker: KafkaBroker, plan: Plan, folder: Path) -> dict[str, float]:
    """Processor microseconds a record: of serving, and of watching its results by sample."""
    folder.mkdir()
    model, training = save(folder / "model"), folder / "training.statistics"
    rows = [orjson.loads(record(rest, number)) for number, rest in enumerate(rests())]
    training.write_bytes(write_statistics(profile(lambda: [rows])))
    with Topics(broker, plan.partitions) as topics:
        broker.create_topics(*map(topics.name, _OUTPUTS))
        with closing(Results(topics)) as results, ServingJob(topics, model, JobSpec()) as serving:
            fill(topics, plan)
            served = _us_per_record(plan, serving, results.written)
        figures = {"serving_us": served}
        say(f"jobs/serve.py: {served:.2f} us a record")
        for sample in SAMPLES:
            with WatchingJob(topics, training, sample) as watching, closing(watching.reader()) as reader:
                watched = _us_per_record(plan, watching, lambda w=watching, r=reader: w.read(r))  # type: ignore[misc]
            figures |= {f"watching_us_at_{sample}": watched, f"cost_at_{sample}": watched / served}
            say(
                f"jobs/watch.py at {sample:.0%}: {watched:.2f} us a record, {watched / served:.1%} of serving"
            )
    return figures


def _us_per_record(plan: Plan, job: ClusterJob, done: Callable[[], int]) -> float:
    """Processor microseconds a record, after the plan's warm-up. BenchError where the job does not end."""
    return Throughput.of(between_marks(done, plan, job, cpu_seconds)).cpu_s_per_million
