"""What jobs share: their streams by the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyflink.datastream import DataStream, KeyedStream
from pyflink.table import StreamTableEnvironment

from jobs.settings.features import FeatureSettings
from jobs.settings.serve import JobSettings, ServeSettings
from jobs.settings.streams import Broker, Folder, Kafka
from operators.block_row import KEYED_BLOCK, RESULTS
from operators.kafka import Delivery, KafkaConnection, Reading
from operators.kafka_check import check_topics
from operators.keyed_table import keyed_stream
from operators.lane_keys import key_prefixes
from operators.serving.kafka_scorer import KafkaScorer
from operators.serving.keyed_scorer import KeyedScorer
from operators.sinks.folder_sink import add_folder_sink
from operators.sinks.kafka_sink import add_kafka_sink
from operators.sinks.result_lines import output_views
from operators.sources.direct_reading import DirectSpec
from operators.sources.folder_source import FolderReading, folder_blocks, folder_models
from operators.sources.kafka_models import kafka_models
from operators.sources.kafka_records import RecordTopics, kafka_blocks
from operators.sources.key_ticks import key_ticks
from udfs.io.kafka_client import reader_properties
from udfs.io.partition_reader import TopicReading


def scored_stream(
    tables: StreamTableEnvironment, settings: ServeSettings, models: KeyedStream, lanes: int
) -> DataStream:
    """Rows of RESULTS: blocks and models meet by data type, or with lanes by lane and data type."""
    spec = settings.scoring(lanes)
    direct = direct_reading(settings, lanes, spec.tick_ms)
    records = record_stream(tables, settings, lanes, direct)
    scorer = KeyedScorer(spec) if direct is None else KafkaScorer(spec, direct)
    scored = records.connect(models).process(scorer, RESULTS)
    # a block's results are a batch already: nothing is gained by gathering them for a while
    return scored.name("score").uid("score").set_buffer_timeout(0).disable_chaining()


def direct_reading(settings: JobSettings, lanes: int, tick_ms: int) -> DirectSpec | None:
    """How an operator reads the records itself; None where Flink's source does."""
    if settings.kafka is None or not settings.reads_directly:
        return None
    return direct_spec(settings, settings.kafka, settings.kafka.records, lanes, tick_ms)


def direct_spec(
    settings: JobSettings | FeatureSettings,
    kafka: Broker,
    topics: Mapping[str, str],
    lanes: int,
    tick_ms: int,
) -> DirectSpec:
    """`topics`: topic -> data type or source."""
    reading = TopicReading(kafka.bootstrap, topics, kafka.group, kafka.start, kafka.client, lanes=lanes)
    return DirectSpec(reading, settings.window_ms, settings.max_block, tick_ms, settings.mode)


def record_stream(
    tables: StreamTableEnvironment, settings: JobSettings, lanes: int, direct: DirectSpec | None
) -> KeyedStream:
    """Blocks keyed by data type, or with lanes by lane and data type; if `direct`, ticks."""
    if direct is None:
        return block_stream(tables, settings, lanes)
    return reading_ticks(tables, direct.reading)


def reading_ticks(tables: StreamTableEnvironment, reading: TopicReading) -> KeyedStream:
    """What brings an operator's keys to life that reads them."""
    types = dict.fromkeys(reading.topics.values())
    return key_ticks(tables, [prefix + t for t in types for prefix in key_prefixes(reading.lanes)])


def block_stream(tables: StreamTableEnvironment, settings: JobSettings, lanes: int) -> KeyedStream:
    """Blocks keyed by data type, or with lanes by lane and data type."""
    if settings.kafka is not None:
        kafka = settings.kafka
        blocks = kafka_blocks(
            tables,
            connection(kafka),
            RecordTopics(kafka.records, kafka.data_type_header),
            Reading(kafka.group, kafka.start, settings.bounded),
            window_ms=settings.window_ms,
            lanes=lanes,
        )
        return keyed_stream(tables, blocks, KEYED_BLOCK, "blocks")
    assert settings.folder is not None
    reading = folder_reading(settings.folder, "records", settings.bounded)
    read = folder_blocks(tables, reading, settings.max_block, lanes > 0)
    tables.create_temporary_view("folder_blocks", tables.from_data_stream(read))
    return keyed_stream(tables, tables.from_path("folder_blocks"), KEYED_BLOCK, "blocks")


def model_stream(tables: StreamTableEnvironment, settings: JobSettings) -> DataStream:
    """Rows of DESCRIPTOR."""
    if settings.kafka is not None:
        kafka = settings.kafka
        reading = Reading(kafka.group, "earliest", settings.bounded)
        return kafka_models(tables, connection(kafka), kafka.models, reading)
    assert settings.folder is not None
    return folder_models(tables, folder_reading(settings.folder, "models", settings.bounded))


def add_outputs(
    tables: StreamTableEnvironment,
    scored: DataStream,
    settings: JobSettings,
    others: Sequence[DataStream] = (),
) -> None:
    """Results, dead letters, model events and statistics, each to its topic or folder.

    `others`: operators whose side outputs go the same ways.
    """
    views = output_views(tables, scored, others)
    statements = tables.create_statement_set()
    if settings.kafka is not None:
        kafka = settings.kafka
        prefix = kafka.transaction_prefix or settings.name
        delivery = Delivery(kafka.exactly_once, prefix, kafka.transaction_timeout_seconds * 1000)
        topics = {
            "results": kafka.results,
            "dead_letters": kafka.dead_letters,
            "model_events": kafka.model_events,
            "model_stats": kafka.model_stats,
        }
        for output, topic in topics.items():
            add_kafka_sink(
                tables,
                statements,
                views[output],
                connection=connection(kafka),
                topic=topic,
                delivery=delivery,
            )
    elif settings.folder is not None:
        for output, view in views.items():
            add_folder_sink(tables, statements, view, settings.folder.root / output.replace("_", "-"))
    statements.attach_as_datastream()


def check_streams(settings: JobSettings) -> None:
    """Raises `SourceError` where the broker or a topic is missing, `SettingsError` for client properties."""
    if settings.kafka is not None and settings.reads_directly:
        reader_properties(settings.kafka.client)
    if settings.kafka is not None and settings.kafka.check:
        check_topics(connection(settings.kafka), _topics(settings.kafka))


def _topics(kafka: Kafka) -> dict[str, str]:
    """Every topic of the job, with the setting that names it."""
    outputs = ("results", "dead_letters", "model_events", "model_stats")
    own = {getattr(kafka, name): f"kafka.{name}" for name in ("models", *outputs)}
    return own | dict.fromkeys(kafka.records, "kafka.records")


def connection(kafka: Broker) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap, kafka.client)


def folder_reading(of: Folder, name: str, bounded: bool) -> FolderReading:
    """Of the folder `name` below the root, which is made where it is missing."""
    folder = of.root.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    return FolderReading(folder, of.looks_per_second, bounded)
