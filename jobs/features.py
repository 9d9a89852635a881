"""Features from event streams to Redis and Parquet: `flink run -py jobs/features.py --declarations FILE
--kafka.bootstrap HOST:PORT ...`, or without a cluster with `--folder.root DIR`. See docs/features.md."""

from __future__ import annotations

import sys

from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.feature_settings import FeatureSettings
from jobs.feature_stores import add_stores, check_stores
from jobs.running import run
from jobs.wiring import connection, folder_reading
from operators.block_row import DEAD_LETTERS, KEYED_BLOCK
from operators.decode_events import DecodeEvents
from operators.event_watermark import keyed_events
from operators.feature_rows import EVENT_BLOCK, FEATURE_BLOCK, events_tag
from operators.folder_sink import add_folder_sink
from operators.folder_source import folder_blocks
from operators.kafka import Delivery, Reading
from operators.kafka_check import check_topics, partitions
from operators.kafka_records import RecordTopics, kafka_blocks
from operators.kafka_sink import add_kafka_sink
from operators.keyed_table import keyed_by_first, keyed_stream
from operators.result_lines import side_view
from operators.side_outputs import side_output
from operators.view_operator import ViewOperator
from schemas.block import PARTITIONS
from schemas.features import Declarations
from udfs.events.decode_spec import DecodeSpec
from udfs.events.reading import read_sources
from udfs.features.loading import load_declarations


def build(env: StreamExecutionEnvironment, tables: StreamTableEnvironment, settings: FeatureSettings) -> None:
    """Raw blocks to events, events to features, layer by layer; features to the stores."""
    declared = load_declarations(settings.declarations)
    sources = read_sources(declared, settings.kafka is not None)
    known = _partitions(settings, sources) if env.get_parallelism() == 1 else {}
    spec = DecodeSpec(declared, tuple(sources), settings.shards, settings.settle_ms, known)
    # one instance reads all partitions: the fewer blocks a window is cut into, the better
    lanes = 1 if env.get_parallelism() == 1 else PARTITIONS
    decoded = _blocks(tables, settings, sources, lanes).process(DecodeEvents(spec), EVENT_BLOCK)
    decoded.name("decode events").uid("decode").disable_chaining()
    computed: list[DataStream] = []
    for source in sources:
        events = keyed_events(tables, side_output(decoded, events_tag(source)), source)
        _layer(computed, events, source, declared, settings)
    statements = tables.create_statement_set()
    add_stores(tables, statements, computed, declared, settings)
    letters = side_view(tables, [decoded, *computed], DEAD_LETTERS)
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
    sources = read_sources(declared, settings.kafka is not None)
    kafka = settings.kafka
    if kafka is not None and kafka.check:
        topics = dict.fromkeys(sources.values(), "of the declared sources")
        check_topics(connection(kafka), topics | {kafka.dead_letters: "kafka.dead_letters"})
    check_stores(declared, settings)


def _blocks(
    tables: StreamTableEnvironment, settings: FeatureSettings, sources: dict[str, str], lanes: int
) -> KeyedStream:
    """Blocks by source and lane, a partition modulo `lanes`; a folder is one partition."""
    if settings.kafka is not None:
        kafka = settings.kafka
        blocks = kafka_blocks(
            tables,
            connection(kafka),
            RecordTopics({topic: source for source, topic in sources.items()}),
            Reading(kafka.group, kafka.start, settings.bounded),
            window_ms=settings.window_ms,
            lanes=lanes,
        )
        return keyed_stream(tables, blocks, KEYED_BLOCK, "blocks")
    assert settings.folder is not None
    reading = folder_reading(settings.folder, "records", settings.bounded)
    return keyed_by_first(folder_blocks(tables, reading, settings.max_block, lanes=True), KEYED_BLOCK)


def _layer(
    computed: list[DataStream],
    events: KeyedStream,
    read: str,
    declared: Declarations,
    settings: FeatureSettings,
) -> None:
    """The views that read one source or view, and those that read them, as operators."""
    names = tuple(v.id for v in declared.views if v.source == read)
    rows = events.process(ViewOperator(settings.views(declared, names)), FEATURE_BLOCK)
    computed.append(rows.name(f"views of {read}").uid(f"views-{read}").disable_chaining())
    for name in names:
        if any(v.source == name for v in declared.views):
            above = keyed_by_first(side_output(rows, events_tag(name)), EVENT_BLOCK)
            _layer(computed, above, name, declared, settings)


def _partitions(settings: FeatureSettings, sources: dict[str, str]) -> dict[str, int]:
    """Source -> how many partitions there are to be heard of, where that can be told."""
    if settings.kafka is None:
        return dict.fromkeys(sources, 1)
    found = partitions(connection(settings.kafka), sources.values())
    return {source: found[topic] for source, topic in sources.items() if topic in found}


if __name__ == "__main__":
    sys.exit(run(build, FeatureSettings, sys.argv[1:], check))
