"""Features from event streams to Redis and Parquet: `flink run -py jobs/features.py --declarations FILE
--kafka.bootstrap HOST:PORT ...`, or without a cluster with `--folder.root DIR`. See docs/features.md."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from operators.block_row import DEAD_LETTERS, KEYED_BLOCK
from operators.features.kafka_decoder import KafkaDecoder
from operators.keyed_table import keyed_by_first, keyed_stream
from operators.sinks.folder_sink import add_folder_sink
from operators.sinks.kafka_sink import add_kafka_sink
from operators.sinks.result_lines import side_view
from operators.sources.folder_source import folder_blocks
from operators.sources.kafka_records import RecordTopics, kafka_blocks
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment, Table
from schemas.block import PARTITIONS
from udfs.io.kafka_client import reader_properties

from jobs.feature_stores import add_stores, check_stores
from jobs.running import run
from jobs.settings.features import FeatureKafka, FeatureSettings
from jobs.wiring import connection, direct_spec, folder_reading, reading_ticks
from operators.features.decode_events import DecodeEvents
from operators.features.decode_references import DecodeReferences
from operators.features.event_watermark import timed_events
from operators.features.feature_rows import EVENT_BLOCK, FEATURE_BLOCK, events_tag, progress_tag
from operators.features.view_operator import ViewOperator
from operators.kafka import Delivery, Reading
from operators.kafka_check import check_topics, partitions
from operators.side_outputs import side_output
from schemas.features.declarations import Declarations
from udfs.features.events.decode_spec import DecodeSpec, ReferenceSpec
from udfs.features.events.reading import read_references, read_sources
from udfs.features.events.references import streams_from
from udfs.features.loading import load_declarations


def build(env: StreamExecutionEnvironment, tables: StreamTableEnvironment, settings: FeatureSettings) -> None:
    """Raw blocks to events, events to features, layer by layer; features to the stores."""
    declared = load_declarations(settings.declarations)
    topics = settings.kafka is not None
    sources, references = read_sources(declared, topics), read_references(declared, topics)
    decoded, spec = _decoded(env, tables, settings, declared, sources)
    changes = _changes(tables, settings, references) if references else None
    beside = _partitions(settings, references)
    others, computed = [decoded], list[DataStream]()
    for source in sources:
        reference: DataStream | None = None
        if changes is not None and spec.has_references(source):
            of = ReferenceSpec(declared, source, settings.shards, settings.settle_ms, beside)
            reference = _references(changes, decoded, of)
            others.append(reference)
        _Layers(tables, declared, settings, reference, computed).add(decoded, source)
    statements = tables.create_statement_set()
    add_stores(tables, statements, computed, declared, settings)
    letters = side_view(tables, [*others, *computed], DEAD_LETTERS)
    if settings.kafka is not None:
        add_kafka_sink(
            tables,
            statements,
            letters,
            connection=connection(settings.kafka),
            topic=settings.kafka.dead_letters,
            delivery=Delivery(exactly_once=False, prefix=settings.name),
        )
    elif settings.folder is not None:
        add_folder_sink(tables, statements, letters, settings.folder.root / "dead-letters")
    statements.attach_as_datastream()


def check(settings: FeatureSettings) -> None:
    """Raises the error of whatever is not there, before Flink starts."""
    declared = load_declarations(settings.declarations)
    kafka = settings.kafka
    sources = read_sources(declared, kafka is not None)
    references = read_references(declared, kafka is not None)
    if kafka is not None and settings.reads_directly:
        reader_properties(kafka.client)
    if kafka is not None and kafka.check:
        topics = dict.fromkeys(sources.values(), "of the declared sources")
        topics |= dict.fromkeys(references.values(), "of the declared references")
        check_topics(connection(kafka), topics | {kafka.dead_letters: "kafka.dead_letters"})
    check_stores(declared, settings)


def _decoded(
    env: StreamExecutionEnvironment,
    tables: StreamTableEnvironment,
    settings: FeatureSettings,
    declared: Declarations,
    sources: dict[str, str],
) -> tuple[DataStream, DecodeSpec]:
    """Events of all sources, by an operator that reads them itself or gets blocks from Flink's source."""
    # where one instance has all partitions: the fewer blocks a window is cut into, the better
    alone = settings.readers if settings.reads_directly else env.get_parallelism()
    known = _partitions(settings, sources) if alone == 1 else {}
    spec = DecodeSpec(declared, tuple(sources), settings.shards, settings.settle_ms, known)
    if settings.kafka is not None and settings.reads_directly:
        topics = {topic: source for source, topic in sources.items()}
        direct = direct_spec(settings, settings.kafka, topics, settings.readers, settings.settle_ms)
        decoded = reading_ticks(tables, direct.reading).process(KafkaDecoder(spec, direct), EVENT_BLOCK)
    else:
        blocks = _blocks(tables, settings, sources, 1 if alone == 1 else PARTITIONS)
        decoded = blocks.process(DecodeEvents(spec), EVENT_BLOCK)
    return decoded.name("decode events").uid("decode").set_buffer_timeout(0).disable_chaining(), spec


def _blocks(
    tables: StreamTableEnvironment, settings: FeatureSettings, sources: dict[str, str], lanes: int
) -> KeyedStream:
    """Blocks by source and lane, a partition modulo `lanes`; a folder is one partition."""
    if settings.kafka is not None:
        blocks = _kafka_blocks(
            tables, settings, settings.kafka, sources, start=settings.kafka.start, name="records", lanes=lanes
        )
        return keyed_stream(tables, blocks, KEYED_BLOCK, "blocks")
    assert settings.folder is not None
    reading = folder_reading(settings.folder, "records", settings.bounded)
    return keyed_by_first(folder_blocks(tables, reading, settings.max_batch, lanes=True), KEYED_BLOCK)


def _changes(
    tables: StreamTableEnvironment, settings: FeatureSettings, references: dict[str, str]
) -> KeyedStream:
    """The same of references: of Kafka's topics all that they hold, since any of it may still count."""
    if settings.kafka is not None:
        blocks = _kafka_blocks(
            tables,
            settings,
            settings.kafka,
            references,
            start="earliest",
            name="references",
            lanes=PARTITIONS,
        )
        return keyed_stream(tables, blocks, KEYED_BLOCK, "reference-blocks")
    assert settings.folder is not None
    reading = folder_reading(settings.folder, "references", settings.bounded)
    blocks = folder_blocks(tables, reading, settings.max_batch, lanes=True, name="reference")
    return keyed_by_first(blocks, KEYED_BLOCK)


def _kafka_blocks(
    tables: StreamTableEnvironment,
    settings: FeatureSettings,
    kafka: FeatureKafka,
    topics: dict[str, str],
    *,
    start: str,
    name: str,
    lanes: int,
) -> Table:
    return kafka_blocks(
        tables,
        connection(kafka),
        RecordTopics({topic: of for of, topic in topics.items()}),
        Reading(kafka.group, start, settings.bounded),
        window_ms=settings.window_ms,
        lanes=lanes,
        name=name,
    )


def _references(changes: KeyedStream, decoded: DataStream, spec: ReferenceSpec) -> DataStream:
    """The references beside one source: an operator that sends their rows to the streams of its views."""
    progress = keyed_by_first(side_output(decoded, progress_tag(spec.source)), EVENT_BLOCK)
    rows = changes.connect(progress).process(DecodeReferences(spec), EVENT_BLOCK)
    rows.name(f"references beside {spec.source}").uid(f"references-{spec.source}")
    return rows.set_parallelism(1).disable_chaining()


@dataclass(frozen=True, slots=True)
class _Layers:
    """The views that read one source, and those that read them. `references`: the operator beside them."""

    tables: StreamTableEnvironment
    declared: Declarations
    settings: FeatureSettings
    references: DataStream | None
    computed: list[DataStream]

    def add(self, rows: DataStream, read: str, above: bool = False) -> None:
        """An operator for each stream; `rows` sends what views of `read` take. `above`: it is a view."""
        for stream in streams_from(read, self.declared):
            events = side_output(rows, events_tag(stream.name))
            if not above:
                events = timed_events(self.tables, events, stream.name)
            if stream.references:
                assert self.references is not None
                beside = side_output(self.references, events_tag(stream.name))
                name = f"beside-{stream.name}"
                events = events.union(timed_events(self.tables, beside, name, always=True))
            views = ViewOperator(self.settings.views(self.declared, stream.views))
            made = keyed_by_first(events, EVENT_BLOCK).process(views, FEATURE_BLOCK)
            name = f"views of {stream.name}"
            self.computed.append(made.name(name).uid(f"views-{stream.name}").disable_chaining())
            for view in stream.views:
                self.add(made, view, above=True)


def _partitions(settings: FeatureSettings, read: dict[str, str]) -> dict[str, int]:
    """Source or reference -> how many partitions there are to be heard of, where that can be told."""
    if settings.kafka is None or not read:
        return dict.fromkeys(read, 1)
    found = partitions(connection(settings.kafka), read.values())
    return {name: found[topic] for name, topic in read.items() if topic in found}


if __name__ == "__main__":
    sys.exit(run(build, FeatureSettings, sys.argv[1:], check))
