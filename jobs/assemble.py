"""Prediction requests to scoring input: `flink run -py jobs/assemble.py --kafka.bootstrap HOST:PORT ...`, or
without a cluster `python jobs/assemble.py --folder.root DIR`. See docs/features.md."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from operators.block_row import DEAD_LETTERS, KEYED_BLOCK, RESULTS
from operators.keyed_table import keyed_by_first, keyed_stream
from operators.sinks.folder_sink import add_folder_sink
from operators.sinks.kafka_sink import add_kafka_sink
from operators.sinks.result_lines import results_view, side_view
from operators.sources.folder_source import folder_blocks
from operators.sources.kafka_records import RecordTopics, kafka_blocks
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.table import StatementSet, StreamTableEnvironment

from jobs.feature_stores import add_history, check_history
from jobs.running import run
from jobs.settings.assemble import AssembleSettings
from jobs.wiring import connection, folder_reading
from operators.features.assemble_requests import AssembleRequests
from operators.features.assembly_rows import EXPIRED, MADE
from operators.kafka import Delivery, Reading
from operators.kafka_check import check_topics
from operators.side_outputs import side_output
from operators.sinks.redis_sink import add_redis_sink
from udfs.enrichment.assembly_spec import AssemblySpec
from udfs.stores.online.base import StoredView
from udfs.stores.registry.sql import SqlRegistry


def build(
    env: StreamExecutionEnvironment, tables: StreamTableEnvironment, settings: AssembleSettings
) -> None:
    """Requests by lane; what was created on demand goes to the stores."""
    views, made = _views(settings)
    spec = AssemblySpec(settings.registry, settings.redis, views, tuple(made))
    assembled = _requests(tables, settings).process(AssembleRequests(spec), RESULTS)
    assembled.name("assemble").uid("assemble").disable_chaining()
    statements = tables.create_statement_set()
    if made:
        add_redis_sink(side_output(assembled, MADE), made, settings.redis, "created")
        if settings.history is not None:
            add_history(tables, statements, [assembled], made, settings.history)
    _add_outputs(tables, statements, assembled, settings)
    statements.attach_as_datastream()


def check(settings: AssembleSettings) -> None:
    """Raises the error of whatever is not there, before Flink starts."""
    _, made = _views(settings)
    kafka = settings.kafka
    if kafka is not None and kafka.check:
        names = ("requests", "assembled", "expired", "dead_letters")
        check_topics(connection(kafka), {getattr(kafka, name): f"kafka.{name}" for name in names})
    if settings.history is not None and made:
        check_history(settings.history, settings.s3, with_cluster=settings.jars is None)


def _views(settings: AssembleSettings) -> tuple[dict[str, StoredView], dict[str, StoredView]]:
    """All views of the registry, and those that have a creator."""
    registry = SqlRegistry(settings.registry)
    views = {view.id: registry.stored(view.id) for view in registry.declarations().views}
    return views, {name: view for name, view in views.items() if registry.on_demand(name)}


def _requests(tables: StreamTableEnvironment, settings: AssembleSettings) -> KeyedStream:
    if settings.kafka is not None:
        kafka = settings.kafka
        blocks = kafka_blocks(
            tables,
            connection(kafka),
            RecordTopics({kafka.requests: "requests"}),
            Reading(kafka.group, kafka.start, settings.bounded),
            window_ms=settings.window_ms,
            lanes=settings.lanes,
        )
        return keyed_stream(tables, blocks, KEYED_BLOCK, "blocks")
    assert settings.folder is not None
    reading = folder_reading(settings.folder, "records", settings.bounded)
    return keyed_by_first(folder_blocks(tables, reading, settings.max_batch, lanes=True), KEYED_BLOCK)


def _add_outputs(
    tables: StreamTableEnvironment,
    statements: StatementSet,
    assembled: DataStream,
    settings: AssembleSettings,
) -> None:
    views: Mapping[str, str] = {
        "assembled": results_view(tables, assembled),
        "expired": side_view(tables, [assembled], EXPIRED),
        "dead_letters": side_view(tables, [assembled], DEAD_LETTERS),
    }
    if settings.kafka is not None:
        kafka = settings.kafka
        prefix = kafka.transaction_prefix or settings.name
        delivery = Delivery(kafka.exactly_once, prefix, kafka.transaction_timeout_seconds * 1000)
        for output, view in views.items():
            topic = getattr(kafka, output)
            add_kafka_sink(
                tables, statements, view, connection=connection(kafka), topic=topic, delivery=delivery
            )
    elif settings.folder is not None:
        for output, view in views.items():
            add_folder_sink(tables, statements, view, settings.folder.root / output.replace("_", "-"))


if __name__ == "__main__":
    sys.exit(run(build, AssembleSettings, sys.argv[1:], check))
