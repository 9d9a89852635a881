"""Who served what, where and when, kept in the registry: `flink run -py jobs/track.py --kafka.bootstrap
HOST:PORT ...`, or without a cluster `python jobs/track.py --folder.root DIR`. See docs/lifecycle.md."""

from __future__ import annotations

import sys

from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment

from jobs.broker import check_kafka
from jobs.running import run
from jobs.settings.track import ToldKafka, TrackSettings
from jobs.wiring import add_sinks, read_records
from operators.lifecycle.track_models import TrackModels
from operators.rows import DEAD_LETTERS, OUTPUTS
from operators.side_outputs import side_output
from operators.sources.gathering import DataTypes, micro_batches
from udfs.io.gathering import Gathering
from udfs.lifecycle.repository.tracking import Told
from udfs.stores.registry.models import ModelRegistry


def build(env: StreamExecutionEnvironment, settings: TrackSettings) -> None:
    """Each kind of message to the registry, by an operator of its own."""
    tracked = [_tracked(env, settings, kind) for kind in _read(settings)]
    add_sinks({"dead_letters": side_output(tracked, DEAD_LETTERS)}, settings)


def check(settings: TrackSettings) -> None:
    """Raises the error of whatever is not there, before Flink starts."""
    ModelRegistry(settings.registry).make()
    kafka = settings.kafka
    if kafka is not None:
        reads = {topic: f"kafka.{kind.replace('-', '_')}" for kind in Told for topic in _jobs(kafka, kind)}
        check_kafka(settings, reads, ["dead_letters"])


def _read(settings: TrackSettings) -> list[Told]:
    """Of a folder all kinds, of Kafka those whose topics are named."""
    kafka = settings.kafka
    return [kind for kind in Told if kafka is None or not settings.reads_kafka or _jobs(kafka, kind)]


def _tracked(env: StreamExecutionEnvironment, settings: TrackSettings, kind: Told) -> DataStream:
    tracked = _messages(env, settings, kind).process(TrackModels(settings.tracking(), kind), OUTPUTS)
    tracked = tracked.set_parallelism(1).name(f"track {kind}").uid(f"track-{kind}")
    return tracked.set_buffer_timeout(0).disable_chaining()


def _messages(env: StreamExecutionEnvironment, settings: TrackSettings, kind: Told) -> KeyedStream:
    """Read by one instance, under the name of the job that wrote them."""
    kafka = settings.kafka
    jobs = _jobs(kafka, kind) if kafka is not None and settings.reads_kafka else {}
    records = read_records(env, settings, jobs, kind, whole_files=kind is Told.PUBLISHED, parallelism=1)
    return micro_batches(records, DataTypes(jobs), Gathering(max_records=256), kind, None)


def _jobs(kafka: ToldKafka, kind: Told) -> dict[str, str]:
    """Topic -> job; what is no job's has the name of its kind. Empty: it is not read."""
    return {
        Told.EVENTS: kafka.model_events,
        Told.STATISTICS: kafka.model_stats,
        Told.PUBLISHED: {kafka.models: "models"},
        Told.QUALITY: {kafka.quality: "quality"} if kafka.quality else {},
        Told.EXPERIMENTS: {kafka.experiments: "experiments"} if kafka.experiments else {},
    }[kind]


if __name__ == "__main__":
    sys.exit(run(build, TrackSettings, sys.argv[1:], check))
