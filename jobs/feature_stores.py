"""Where the jobs that compute features put them, by the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyflink.datastream import DataStream, StreamExecutionEnvironment

from jobs.settings.features import History, StoreSettings
from operators.environment import submitted
from operators.features.feature_rows import HISTORY
from operators.side_outputs import side_output
from operators.sinks.history_sink import HistoryOptions, add_history_sink
from operators.sinks.redis_sink import add_redis_sink
from schemas.errors import SettingsError
from schemas.features.declarations import Declarations
from udfs.io.s3 import S3Options
from udfs.stores.history.bucket import check_bucket
from udfs.stores.history.files import check_schema
from udfs.stores.online.base import StoredView
from udfs.stores.stored_views import stored_views


def add_stores(
    env: StreamExecutionEnvironment,
    computed: Sequence[DataStream],
    declared: Declarations,
    settings: StoreSettings,
) -> None:
    """`computed`: operators whose main output is FEATURE_BATCH and that send HISTORY beside."""
    online, kept = stored_views(declared, "online"), stored_views(declared, "history")
    if settings.redis is not None and online:
        first, *others = computed
        add_redis_sink(first.union(*others) if others else first, online, settings.redis, "features")
    if settings.history is not None and kept:
        add_history(env, computed, kept, settings.history)


def add_history(
    env: StreamExecutionEnvironment,
    operators: Sequence[DataStream],
    views: Mapping[str, StoredView],
    history: History,
) -> None:
    """A Parquet table for each of `views`, of what `operators` send to HISTORY."""
    columns = {name: dict([*view.entity, *view.features]) for name, view in views.items()}
    add_history_sink(env, side_output(operators, HISTORY), columns, history_options(history))


def history_options(history: History, by: tuple[str, ...] = ()) -> HistoryOptions:
    """`by`: columns whose values files are told apart by, below the day."""
    return HistoryOptions(
        history.location(), history.partition, history.roll_seconds, history.compact, history.file_mb, by
    )


def check_stores(declared: Declarations, settings: StoreSettings) -> None:
    """Raises `SettingsError` or `StoreError`, in one sentence, where a store cannot be used."""
    kept = stored_views(declared, "history")
    if settings.history is not None and kept:
        check_history(settings.history, settings.s3, with_cluster=submitted())
        for name, view in kept.items():
            check_schema(settings.history.location(), name, dict([*view.entity, *view.features]), settings.s3)


def check_history(history: History, s3: S3Options, with_cluster: bool) -> None:
    """Raises `SettingsError` or `StoreError` where history cannot be written."""
    if history.location().startswith("s3:"):
        if not with_cluster:
            raise SettingsError(
                "history.url is in S3, for which Flink needs a cluster with its S3 plugin: use `flink run`, "
                "or a folder's path"
            )
        check_bucket(history.url, s3)
