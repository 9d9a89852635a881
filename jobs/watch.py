"""Statistics of live streams and what changes in them: `flink run -py jobs/watch.py --kafka.bootstrap
HOST:PORT ...`, or without a cluster `python jobs/watch.py --folder.root DIR`. See docs/lifecycle.md."""

from __future__ import annotations

import sys
from dataclasses import replace

from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment

from jobs.broker import check_kafka, connection
from jobs.running import run
from jobs.settings.watch import Of, Watched, WatchSettings
from jobs.wiring import add_sinks, read_records
from operators.event_watermark import TIMED_BATCH, timed_events
from operators.flink_internals import keyed_by_first
from operators.kafka_check import partitions
from operators.key_groups import KeyGroups, key_groups
from operators.lifecycle.count_windows import CountWindows
from operators.lifecycle.judge_quality import JudgeQuality
from operators.lifecycle.judge_windows import ALERTS, JudgeWindows
from operators.rows import DEAD_LETTERS, OUTPUTS
from operators.side_outputs import side_output
from operators.sources.gathering import DataTypes, micro_batches


def build(env: StreamExecutionEnvironment, settings: WatchSettings) -> None:
    """Records and results are each counted where they are read, and judged by series; quality by version."""
    groups = key_groups(env)
    judged = [_judged(env, settings, groups, of) for of in settings.streams]
    outputs = {"statistics": judged[0].union(*judged[1:]) if len(judged) > 1 else judged[0]} if judged else {}
    alerts = [side_output(judged, ALERTS)] if judged else []
    if "quality" in settings.watch:
        quality = _quality(env, settings)
        alerts.append(quality)
        outputs["dead_letters"] = side_output(quality, DEAD_LETTERS)
    outputs["alerts"] = alerts[0].union(*alerts[1:]) if len(alerts) > 1 else alerts[0]
    add_sinks(outputs, settings)


def check(settings: WatchSettings) -> None:
    """Raises the error of whatever is not there, before Flink starts."""
    reads: dict[str, str] = {}
    for of in settings.watch if settings.reads_kafka else ():
        reads |= dict.fromkeys(_topics(settings, of), f"kafka.{of}")
    settings.judging("records").training_sets().check()
    writes = ["alerts", *(["statistics"] if settings.streams else [])]
    check_kafka(settings, reads, [*writes, *(["dead_letters"] if "quality" in settings.watch else [])])


def _quality(env: StreamExecutionEnvironment, settings: WatchSettings) -> DataStream:
    """One instance reads what is said of quality: of each window there is a message or a few."""
    messages = _batches(env, settings, None, "quality", parallelism=1)
    judged = messages.process(JudgeQuality(settings.quality()), OUTPUTS).set_parallelism(1)
    return judged.name("judge quality").uid("judge-quality").set_buffer_timeout(0).disable_chaining()


def _judged(
    env: StreamExecutionEnvironment, settings: WatchSettings, groups: KeyGroups, of: Of
) -> DataStream:
    heard = _partitions(settings, of) if env.get_parallelism() == 1 else None
    counted = _batches(env, settings, groups, of).process(
        CountWindows(settings.counting(of, heard)), TIMED_BATCH
    )
    counted.name(f"count {of}").uid(f"count-{of}").set_buffer_timeout(0).disable_chaining()
    timed = keyed_by_first(timed_events(counted, of, always=settings.bounded), TIMED_BATCH)
    judged = timed.process(JudgeWindows(settings.judging(of)), OUTPUTS)
    return judged.name(f"judge {of}").uid(f"judge-{of}").set_buffer_timeout(0).disable_chaining()


def _batches(
    env: StreamExecutionEnvironment,
    settings: WatchSettings,
    groups: KeyGroups | None,
    of: Watched,
    parallelism: int | None = None,
) -> KeyedStream:
    gathering = settings.batch.gathering(settings.mode)
    if of != "quality":
        gathering = replace(gathering, sample=settings.sample)
    kafka, types = settings.kafka, DataTypes({})
    if kafka is not None and settings.reads_kafka and of == "records":
        types = DataTypes(kafka.records, kafka.data_type_header)
    records = read_records(env, settings, _topics(settings, of), of, parallelism=parallelism)
    return micro_batches(records, types, gathering, of, groups, beats=groups is not None)


def _topics(settings: WatchSettings, of: Watched) -> list[str]:
    kafka = settings.kafka
    return (
        []
        if kafka is None
        else list({"records": kafka.records, "results": kafka.results, "quality": (kafka.quality,)}[of])
    )


def _partitions(settings: WatchSettings, of: Of) -> int:
    """How many partitions there are to be heard of."""
    if settings.kafka is None or not settings.reads_kafka:
        return 1
    return sum(partitions(connection(settings.kafka), _topics(settings, of)).values())


if __name__ == "__main__":
    sys.exit(run(build, WatchSettings, sys.argv[1:], check))
