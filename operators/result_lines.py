"""Results and side outputs as tables: runs of results are split into lines here, in the JVM."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import StreamTableEnvironment

from operators.block_row import DEAD_LETTERS, MODEL_EVENTS, MODEL_STATS
from operators.table_options import control
from schemas.block import SEPARATOR
from udfs.emission import SHARED

# The columns of every view that `output_views` makes, in this order.
COLUMNS = "message, message_key, headers, event_time"


def output_views(tables: StreamTableEnvironment, scored: DataStream) -> dict[str, str]:
    """Views of what a scoring operator sends: output name -> view name.

    Columns: `message` STRING, `message_key` BYTES, `headers` MAP<STRING, BYTES>, `event_time`
    TIMESTAMP_LTZ(3); the last two are NULL for side outputs.
    """
    tables.create_temporary_view("scored_runs", tables.from_data_stream(scored))

    def split(column: str) -> str:
        return f"SPLIT(CAST({column} AS STRING), {control(SEPARATOR)})"

    # A map of two arrays keeps their order and their repeats, and is unnested into pairs: see
    # `udfs.emission.ResultRun` for the marks.
    shared, own_time = f"u.mark = '{SHARED.decode()}'", "CAST(SUBSTRING(u.mark FROM 1 FOR 13) AS BIGINT)"
    tables.execute_sql(f"""
        CREATE TEMPORARY VIEW results_lines AS
        SELECT u.line AS message, headers,
            CASE WHEN {shared} THEN `key` WHEN CHAR_LENGTH(u.mark) = 13 THEN CAST(NULL AS BYTES)
                ELSE UNHEX(SUBSTRING(u.mark FROM 15)) END AS message_key,
            TO_TIMESTAMP_LTZ(CASE WHEN {shared} THEN event_time ELSE {own_time} END, 3) AS event_time
        FROM scored_runs
        CROSS JOIN UNNEST(MAP_FROM_ARRAYS({split("marks")}, {split("`lines`")})) AS u(mark, line)""")
    views = {"results": "results_lines"}
    for tag in (DEAD_LETTERS, MODEL_EVENTS, MODEL_STATS):
        name = tag.tag_id.replace("-", "_")
        rows = scored.get_side_output(tag).uid(tag.tag_id)
        tables.create_temporary_view(f"{name}_rows", tables.from_data_stream(rows))
        tables.execute_sql(f"""
            CREATE TEMPORARY VIEW {name}_lines AS
            SELECT CAST(message AS STRING) AS message, `key` AS message_key,
                CAST(NULL AS MAP<STRING, BYTES>) AS headers, CAST(NULL AS TIMESTAMP_LTZ(3)) AS event_time
            FROM {name}_rows""")
        views[name] = f"{name}_lines"
    return views
