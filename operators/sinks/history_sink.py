"""History in Parquet: lines come apart in the JVM, and Flink's own file sink commits them exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import Schema, StatementSet, StreamTableEnvironment

from operators.flink_internals import set_table_uids
from operators.table_options import control, literal, options
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import CREATED, TIMESTAMP
from udfs.stores.history.lines import BLANK, FIELD, HEX

SQL_TYPES = {
    FeatureType.INT64: "BIGINT",
    FeatureType.FLOAT64: "DOUBLE",
    FeatureType.BOOL: "BOOLEAN",
    FeatureType.STRING: "STRING",
    FeatureType.TIMESTAMP: "TIMESTAMP_LTZ(3)",
    FeatureType.INT64_LIST: "ARRAY<BIGINT>",
    FeatureType.FLOAT64_LIST: "ARRAY<DOUBLE>",
    FeatureType.STRING_LIST: "ARRAY<STRING>",
}


@dataclass(frozen=True, slots=True)
class HistoryOptions:
    """`url`: a folder, `s3://BUCKET/PREFIX` or `file:///PATH`; a view's files lie below `VIEW_vN/dt=DAY`, and
    below that by the values of its columns `by`.

    A file is closed after `roll_seconds` and appears with the next checkpoint; with `compact` the files of a
    checkpoint become one, of at most `file_mb`.
    """

    url: str
    partition: Literal["day", "hour"] = "day"
    roll_seconds: int = 300
    compact: bool = True
    file_mb: int = 128
    by: tuple[str, ...] = ()

    def table(self, view: str) -> dict[str, str]:
        return {
            "connector": "filesystem",
            "path": f"{self.url.rstrip('/')}/{view}",
            "format": "parquet",
            "parquet.utc-timezone": "true",
            "parquet.write.int64.timestamp": "true",
            "parquet.timestamp.time.unit": "millis",
            "sink.rolling-policy.rollover-interval": f"{self.roll_seconds} s",
            "sink.rolling-policy.check-interval": f"{max(1, self.roll_seconds // 5)} s",
            "sink.rolling-policy.file-size": f"{self.file_mb} MB",
            "auto-compaction": str(self.compact).lower(),
            "compaction.file-size": f"{self.file_mb} MB",
        }


def add_history_sink(
    env: StreamExecutionEnvironment,
    lines: DataStream,
    views: Mapping[str, Mapping[str, FeatureType]],
    store: HistoryOptions,
) -> None:
    """Write HISTORY_LINES, a table a view. `views`: by name, their entity and features in the rows' order."""
    tables = StreamTableEnvironment.create(env)
    tables.create_temporary_view("history_runs", tables.from_data_stream(lines, _runs()))
    # The second UNNEST, of one element, splits a line once. A projection in its place would be merged with
    # the one that reads it, and a line split again for each mention of each of its fields.
    end, separator = control(b"\n"), control(FIELD.encode())
    tables.execute_sql(f"""
        CREATE TEMPORARY VIEW history_lines AS SELECT `view`, f.`fields`
        FROM history_runs CROSS JOIN UNNEST(SPLIT(`lines`, {end})) AS u(line)
        CROSS JOIN UNNEST(ARRAY[SPLIT(u.line, {separator})]) AS f(`fields`)""")
    statements = tables.create_statement_set()
    for view, columns in views.items():
        _insert(tables, statements, view, columns, store)
    statements.attach_as_datastream()
    set_table_uids(env, [f"history-{view}" for view in views])


def _insert(
    tables: StreamTableEnvironment,
    statements: StatementSet,
    view: str,
    columns: Mapping[str, FeatureType],
    store: HistoryOptions,
) -> None:
    typed = {**columns, TIMESTAMP: FeatureType.TIMESTAMP, CREATED: FeatureType.TIMESTAMP}
    names = [f"`{name}` {SQL_TYPES[kind]}" for name, kind in typed.items()]
    values = [_value(f"`fields`[{i}]", kind) for i, kind in enumerate(typed.values(), 1)]
    parts = {"dt": "yyyy-MM-dd"} | ({"hr": "HH"} if store.partition == "hour" else {})
    by = ", ".join([*parts, *(f"`{name}`" for name in store.by)])
    at = values[list(typed).index(TIMESTAMP)]
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE `history_{view}` ({", ".join([*names, *(f"{p} STRING" for p in parts)])})
        PARTITIONED BY ({by}) WITH ({options(store.table(view))})""")
    values += [f"DATE_FORMAT({at}, {literal(form)})" for form in parts.values()]
    statements.add_insert_sql(
        f"INSERT INTO `history_{view}` SELECT {', '.join(values)} FROM history_lines "
        f"WHERE `view` = {literal(view)}"
    )


def _value(field: str, kind: FeatureType) -> str:
    """A field of a line as its type, in SQL: see `udfs.stores.history.lines`."""
    given = f"NULLIF({field}, '')"
    if kind is FeatureType.TIMESTAMP:
        return f"TO_TIMESTAMP_LTZ(CAST({given} AS BIGINT), 3)"
    if kind is FeatureType.STRING:
        return _text(given)
    if kind in (FeatureType.INT64_LIST, FeatureType.FLOAT64_LIST, FeatureType.STRING_LIST):
        text = _text(given)
        items = f"SPLIT(SUBSTRING({text} FROM 2), SUBSTRING({text} FROM 1 FOR 1))"
        if kind is FeatureType.STRING_LIST:
            return f"CASE WHEN {given} = {literal(BLANK)} THEN ARRAY[CAST('' AS STRING)] ELSE {items} END"
        return f"CAST({items} AS {SQL_TYPES[kind]})"
    return f"CAST({given} AS {SQL_TYPES[kind]})"


def _text(given: str) -> str:
    mark = control(HEX.encode())
    decoded = f"DECODE(UNHEX(SUBSTRING({given} FROM 2)), 'UTF-8')"
    return f"CASE WHEN {given} LIKE {mark} || '%' THEN {decoded} ELSE {given} END"


def _runs() -> Schema:
    """HISTORY_LINES with the lines as a string over the very bytes; a cast would decode and encode them."""
    java = get_gateway().jvm
    kinds = java.org.apache.flink.table.api.DataTypes
    text = kinds.STRING().bridgedTo(java.java.lang.Class.forName("[B"))
    schema = java.org.apache.flink.table.api.Schema.newBuilder()
    return Schema(schema.column("view", kinds.STRING()).column("lines", text).build())
