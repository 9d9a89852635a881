"""Results and side outputs as tables: runs of results come apart here, in the JVM."""

from __future__ import annotations

from collections.abc import Sequence

from pyflink.datastream import DataStream
from pyflink.datastream.output_tag import OutputTag
from pyflink.java_gateway import get_gateway
from pyflink.table import Schema, StreamTableEnvironment

from operators.block_row import DEAD_LETTERS, MODEL_EVENTS, MODEL_STATS
from operators.side_outputs import side_output
from operators.table_options import control
from schemas.block import SEPARATOR
from udfs.serving.output import SHARED

# The columns of every view that `output_views` makes, in this order.
COLUMNS = "message, message_key, headers, event_time"


def output_views(
    tables: StreamTableEnvironment, scored: DataStream, others: Sequence[DataStream] = ()
) -> dict[str, str]:
    """Views of what a scoring operator sends: output name -> view name. `others` send to side outputs only.

    Columns: `message` BYTES, `message_key` BYTES, `headers` MAP<STRING, BYTES>, `event_time`
    TIMESTAMP_LTZ(3); the last two are NULL for side outputs.
    """
    views = {"results": results_view(tables, scored)}
    for tag in (DEAD_LETTERS, MODEL_EVENTS, MODEL_STATS):
        views[tag.tag_id.replace("-", "_")] = side_view(tables, [scored, *others], tag)
    return views


def results_view(tables: StreamTableEnvironment, scored: DataStream) -> str:
    """The view of an operator's rows of RESULTS."""
    tables.create_temporary_view("scored_runs", tables.from_data_stream(scored, _runs()))

    # A map of two arrays keeps their order and their repeats, and is unnested into pairs: see
    # `udfs.serving.output.ResultRun` for the marks.
    pairs = f"MAP_FROM_ARRAYS(SPLIT(marks, {control(SEPARATOR)}), `lines`)"
    shared, own_time = f"u.mark = '{SHARED.decode()}'", "CAST(SUBSTRING(u.mark FROM 1 FOR 13) AS BIGINT)"
    tables.execute_sql(f"""
        CREATE TEMPORARY VIEW results_lines AS
        SELECT u.line AS message, headers,
            CASE WHEN {shared} THEN `key` WHEN CHAR_LENGTH(u.mark) = 13 THEN CAST(NULL AS BYTES)
                ELSE UNHEX(SUBSTRING(u.mark FROM 15)) END AS message_key,
            TO_TIMESTAMP_LTZ(CASE WHEN {shared} THEN event_time ELSE {own_time} END, 3) AS event_time
        FROM scored_runs
        CROSS JOIN UNNEST({pairs}) AS u(mark, line)""")
    return "results_lines"


def side_view(tables: StreamTableEnvironment, operators: Sequence[DataStream], tag: OutputTag) -> str:
    """The view of what operators send to a side output of (key, message)."""
    name = tag.tag_id.replace("-", "_")
    rows = side_output(operators, tag)
    tables.create_temporary_view(f"{name}_rows", tables.from_data_stream(rows))
    tables.execute_sql(f"""
        CREATE TEMPORARY VIEW {name}_lines AS
        SELECT message, `key` AS message_key,
            CAST(NULL AS MAP<STRING, BYTES>) AS headers, CAST(NULL AS TIMESTAMP_LTZ(3)) AS event_time
        FROM {name}_rows""")
    return f"{name}_lines"


def _runs() -> Schema:
    """RESULTS with the marks as a string over the very bytes; a cast would decode and encode them."""
    java = get_gateway().jvm
    kinds = java.org.apache.flink.table.api.DataTypes
    text = kinds.STRING().bridgedTo(java.java.lang.Class.forName("[B"))
    columns = {
        "lines": kinds.ARRAY(kinds.BYTES()),
        "marks": text,
        "event_time": kinds.BIGINT(),
        "key": kinds.BYTES(),
    }
    columns["headers"] = kinds.MAP(kinds.STRING(), kinds.BYTES())
    schema = java.org.apache.flink.table.api.Schema.newBuilder()
    for name, kind in columns.items():
        schema = schema.column(name, kind)
    return Schema(schema.build())
