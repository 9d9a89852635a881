"""Features joined to labels, in batch: `flink run -py jobs/training_set.py --labels FILE --model NAME ...`,
or without a cluster with folders. See docs/features.md."""

from __future__ import annotations

import sys

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.running import run
from jobs.settings.training import TrainingSettings
from operators.features.training_tables import Labels, add_training_set
from schemas.errors import FeatureError
from udfs.stores.history.files import find_files
from udfs.stores.registry.sql import SqlRegistry
from udfs.stores.training.base import WantedFeatures
from udfs.stores.training.labels import keys, result_names, times
from udfs.stores.training.plan import label_columns, references, sql_types, wanted_of


def build(env: StreamExecutionEnvironment, settings: TrainingSettings) -> None:
    """Labels and history to labels with features."""
    columns = sql_types(label_columns(settings.labels, settings.s3))
    wanted = _wanted(settings)
    labels = Labels(settings.url(settings.labels), columns, settings.timestamp, settings.known_at)
    tables = StreamTableEnvironment.create(env)
    statements = tables.create_statement_set()
    names = result_names([*columns], wanted)
    add_training_set(tables, statements, labels, wanted=wanted, names=names, out=settings.url(settings.out))
    statements.attach_as_datastream()


def check(settings: TrainingSettings) -> None:
    """Raises the error of whatever does not fit, before Flink starts."""
    schema = label_columns(settings.labels, settings.s3)
    sql_types(schema)
    wanted = _wanted(settings)
    result_names(schema.names, wanted)
    empty = schema.empty_table()
    for column in filter(None, (settings.timestamp, settings.known_at)):
        times(empty, column)
    for one in wanted:
        keys(empty, one)
        if not find_files(one.history, settings.s3):
            raise FeatureError(f"there is no history of {one.view.id} at {one.history}")
    if find_files(settings.out, settings.s3):
        raise FeatureError(
            f"there are files at {settings.out} already: name a folder of its own for each set"
        )


def _wanted(settings: TrainingSettings) -> list[WantedFeatures]:
    registry = SqlRegistry(settings.registry)
    if settings.model:
        inputs = registry.model(settings.model, settings.version).inputs
    else:
        inputs = tuple(("", ref) for ref in references(settings.features))
    history = settings.url(settings.history)
    return wanted_of(registry, inputs, settings.entities, history, settings.prefix)


if __name__ == "__main__":
    sys.exit(run(build, TrainingSettings, sys.argv[1:], check))
