"""What the serving jobs share: their streams by the settings, and the way a job is run."""

from __future__ import annotations

import sys
from collections.abc import Callable

from py4j.protocol import Py4JError, Py4JJavaError
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.settings import Kafka, ServeSettings, read_settings
from operators.block_row import KEYED_BLOCK
from operators.environment import FlinkSpec, make_environment
from operators.folder_sink import add_folder_sink
from operators.folder_source import FolderReading, folder_blocks, folder_models
from operators.kafka import Delivery, KafkaConnection, Reading
from operators.kafka_check import check_topics
from operators.kafka_models import kafka_models
from operators.kafka_records import RecordTopics, kafka_blocks
from operators.kafka_sink import add_kafka_sink
from operators.keyed_table import keyed_stream
from operators.result_lines import output_views
from schemas.errors import MillraceError

Build = Callable[[StreamExecutionEnvironment, StreamTableEnvironment, ServeSettings], None]


def block_stream(tables: StreamTableEnvironment, settings: ServeSettings, lanes: int) -> KeyedStream:
    """Blocks keyed by data type, or with lanes by lane and data type."""
    if settings.kafka is not None:
        kafka = settings.kafka
        blocks = kafka_blocks(
            tables,
            _connection(kafka),
            RecordTopics(kafka.records, kafka.data_type_header),
            Reading(kafka.group, kafka.start, settings.bounded),
            window_ms=settings.window_ms,
            lanes=lanes,
        )
        return keyed_stream(tables, blocks, KEYED_BLOCK, "blocks")
    reading = _folder_reading(settings, "records")
    read = folder_blocks(tables, reading, settings.max_block, lanes > 0)
    tables.create_temporary_view("folder_blocks", tables.from_data_stream(read))
    return keyed_stream(tables, tables.from_path("folder_blocks"), KEYED_BLOCK, "blocks")


def model_stream(tables: StreamTableEnvironment, settings: ServeSettings) -> DataStream:
    """Rows of DESCRIPTOR."""
    if settings.kafka is not None:
        kafka = settings.kafka
        reading = Reading(kafka.group, "earliest", settings.bounded)
        return kafka_models(tables, _connection(kafka), kafka.models, reading)
    return folder_models(tables, _folder_reading(settings, "models"))


def add_outputs(tables: StreamTableEnvironment, scored: DataStream, settings: ServeSettings) -> None:
    """Results, dead letters, model events and statistics, each to its topic or folder."""
    views = output_views(tables, scored)
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
                connection=_connection(kafka),
                topic=topic,
                delivery=delivery,
            )
    elif settings.folder is not None:
        for output, view in views.items():
            add_folder_sink(tables, statements, view, settings.folder.root / output.replace("_", "-"))
    statements.attach_as_datastream()


def run(build: Build, arguments: list[str]) -> int:
    """Run a job to its end, or submit it. Returns the exit code; an error is one sentence on stderr."""
    try:
        settings = read_settings(arguments)
        if settings.kafka is not None and settings.kafka.check:
            check_topics(_connection(settings.kafka), _topics(settings.kafka))
        env, tables = make_environment(_flink(settings))
        build(env, tables, settings)
        env.execute(settings.name)
    except MillraceError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except Py4JJavaError as e:
        print(f"error: the job failed: {_root_cause(e)}", file=sys.stderr)
        return 1
    except Py4JError:
        print("error: Flink's JVM ended under the job; its log says why", file=sys.stderr)
        return 1
    return 0


def _root_cause(error: Py4JJavaError) -> str:
    cause = error.java_exception
    while cause.getCause() is not None:
        cause = cause.getCause()
    return str(cause.toString()).strip()


def _flink(settings: ServeSettings) -> FlinkSpec:
    folder = settings.jars / "lib" if settings.jars else None
    seconds = settings.checkpoint_seconds
    return FlinkSpec(
        mode=settings.mode,
        parallelism=settings.parallelism,
        checkpoint_ms=None if seconds is None else int(seconds * 1000),
        jars=sorted(folder.glob("flink-*.jar")) if folder else (),
        options=settings.flink,
    )


def _topics(kafka: Kafka) -> dict[str, str]:
    """Every topic of the job, with the setting that names it."""
    outputs = ("results", "dead_letters", "model_events", "model_stats")
    own = {getattr(kafka, name): f"kafka.{name}" for name in ("models", *outputs)}
    return own | dict.fromkeys(kafka.records, "kafka.records")


def _connection(kafka: Kafka) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap, kafka.client)


def _folder_reading(settings: ServeSettings, name: str) -> FolderReading:
    assert settings.folder is not None
    folder = settings.folder.root.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    return FolderReading(folder, settings.folder.looks_per_second, settings.bounded)
