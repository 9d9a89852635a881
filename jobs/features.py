"""Features from event streams to Redis and Parquet: `flink run -py jobs/features.py --declarations FILE
--kafka.bootstrap HOST:PORT ...`, or without a cluster with `--folder.root DIR`. See docs/features.md."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment

from jobs.broker import check_kafka, connection
from jobs.feature_stores import add_stores, check_stores
from jobs.running import run
from jobs.settings.features import FeatureSettings
from jobs.wiring import add_sinks, read_records
from operators.event_watermark import timed_events
from operators.features.decode_events import DecodeEvents
from operators.features.decode_references import DecodeReferences
from operators.features.feature_rows import EVENT_BATCH, FEATURE_BATCH, events_tag, progress_tag
from operators.features.view_operator import ViewOperator
from operators.flink_internals import keyed_by_first
from operators.for_instances import for_each_instance
from operators.kafka_check import partitions
from operators.key_groups import KeyGroups, key_groups
from operators.rows import DEAD_LETTERS
from operators.side_outputs import side_output
from operators.sources.gathering import DataTypes, micro_batches
from schemas.features.declarations import Declarations
from udfs.features.events.decode_spec import DecodeSpec, ReferenceSpec
from udfs.features.events.reading import read_references, read_sources
from udfs.features.events.references import streams_from
from udfs.features.loading import load_declarations


def build(env: StreamExecutionEnvironment, settings: FeatureSettings) -> None:
    """Raw micro-batches to events, events to features, layer by layer; features to the stores."""
    groups = key_groups(env)
    declared = load_declarations(settings.declarations)
    topics = settings.reads_kafka
    sources, references = read_sources(declared, topics), read_references(declared, topics)
    decoded, spec = _decoded(env, settings, groups, declared, sources)
    changes = _batches(env, settings, groups, references, "references") if references else None
    beside = _partitions(settings, references)
    others, computed = [decoded], list[DataStream]()
    for source in sources:
        reference: DataStream | None = None
        if changes is not None and spec.has_references(source):
            of = ReferenceSpec(declared, source, settings.watermark_step_ms, beside)
            reference = _references(changes, decoded, of, groups)
            others.append(reference)
        _Layers(declared, settings, groups, reference, computed).add(decoded, source)
    add_stores(env, computed, declared, settings)
    letters = {"dead_letters": side_output([*others, *computed], DEAD_LETTERS)}
    add_sinks(letters, settings)


def check(settings: FeatureSettings) -> None:
    """Raises the error of whatever is not there, before Flink starts."""
    declared = load_declarations(settings.declarations)
    topics = settings.reads_kafka
    reads = dict.fromkeys(read_sources(declared, topics).values(), "of the declared sources")
    reads |= dict.fromkeys(read_references(declared, topics).values(), "of the declared references")
    check_kafka(settings, reads, ["dead_letters"])
    check_stores(declared, settings)


def _decoded(
    env: StreamExecutionEnvironment,
    settings: FeatureSettings,
    groups: KeyGroups,
    declared: Declarations,
    sources: dict[str, str],
) -> tuple[DataStream, DecodeSpec]:
    """Events of all sources."""
    # where one instance has all partitions
    known = _partitions(settings, sources) if env.get_parallelism() == 1 else {}
    spec = DecodeSpec(declared, tuple(sources), len(groups.keys), settings.watermark_step_ms, known)
    batches = _batches(env, settings, groups, sources, "records")
    decoded = batches.process(DecodeEvents(spec, groups), EVENT_BATCH)
    return decoded.name("decode events").uid("decode").set_buffer_timeout(0).disable_chaining(), spec


def _batches(
    env: StreamExecutionEnvironment,
    settings: FeatureSettings,
    groups: KeyGroups,
    read: dict[str, str],
    name: str,
) -> KeyedStream:
    """Micro-batches of sources or references (name -> topic). Of references' topics all that they hold, since
    any of it may still count, by one instance."""
    start, one = ("earliest", 1) if name == "references" else (None, None)
    records = read_records(env, settings, read.values(), name, start=start, parallelism=one)
    types = DataTypes({topic: of for of, topic in read.items()})
    gathering = settings.batch.gathering(settings.mode)
    return micro_batches(records, types, gathering, name, groups, marks=True, beats=True)


def _references(
    changes: KeyedStream, decoded: DataStream, spec: ReferenceSpec, groups: KeyGroups
) -> DataStream:
    """The references beside one source: an operator that sends their rows to the streams of its views."""
    progress = keyed_by_first(side_output(decoded, progress_tag(spec.source)), EVENT_BATCH)
    rows = changes.connect(progress).process(DecodeReferences(spec, groups), EVENT_BATCH)
    rows.name(f"references beside {spec.source}").uid(f"references-{spec.source}")
    return rows.set_parallelism(1).set_buffer_timeout(0).disable_chaining()


@dataclass(frozen=True, slots=True)
class _Layers:
    """The views that read one source, and those that read them. `references`: the operator beside them."""

    declared: Declarations
    settings: FeatureSettings
    groups: KeyGroups
    references: DataStream | None
    computed: list[DataStream]

    def add(self, rows: DataStream, read: str, above: bool = False) -> None:
        """An operator for each stream; `rows` sends what views of `read` take. `above`: it is a view."""
        for stream in streams_from(read, self.declared):
            events = side_output(rows, events_tag(stream.name))
            if not above:
                events = timed_events(events, stream.name, always=self.settings.bounded)
            if stream.references:
                assert self.references is not None
                beside = side_output(self.references, events_tag(stream.name))
                beside = timed_events(beside, f"beside-{stream.name}", always=True)
                name, uid = f"references for {stream.name}", f"copies-{stream.name}"
                copies = for_each_instance(beside, EVENT_BATCH, self.groups, name=name, uid=uid)
                events = events.union(copies)
            spec = self.settings.views(self.declared, stream.views, len(self.groups.keys))
            views = ViewOperator(spec, self.groups)
            made = keyed_by_first(events, EVENT_BATCH).process(views, FEATURE_BATCH)
            name = f"views of {stream.name}"
            made = made.name(name).uid(f"views-{stream.name}").set_buffer_timeout(0).disable_chaining()
            self.computed.append(made)
            for view in stream.views:
                self.add(made, view, above=True)


def _partitions(settings: FeatureSettings, read: dict[str, str]) -> dict[str, int]:
    """Source or reference -> how many partitions there are to be heard of, where that can be told."""
    if settings.kafka is None or not settings.reads_kafka or not read:
        return dict.fromkeys(read, 1)
    found = partitions(connection(settings.kafka), read.values())
    return {name: found[topic] for name, topic in read.items() if topic in found}


if __name__ == "__main__":
    sys.exit(run(build, FeatureSettings, sys.argv[1:], check))
