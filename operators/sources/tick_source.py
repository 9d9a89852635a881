"""A source that does nothing but tick, once a second, for operators that fetch their input themselves."""

from __future__ import annotations

from pyflink.common.typeinfo import Types
from pyflink.datastream import KeyedStream
from pyflink.table import StreamTableEnvironment

from operators.keyed_table import keyed_stream
from operators.table_options import options

TICK = Types.ROW_NAMED(["key", "tick"], [Types.STRING(), Types.ROW_NAMED(["n"], [Types.LONG()])])


def tick_source(tables: StreamTableEnvironment, name: str, *, once: bool = False) -> KeyedStream:
    """Rows of TICK under the key `all`; with `once` a single one."""
    ticks = {"connector": "datagen", "rows-per-second": "1"}
    ticks |= {"number-of-rows": "1"} if once else {}
    tables.execute_sql(f"CREATE TEMPORARY TABLE {name} (n BIGINT) WITH ({options(ticks)})")
    rows = tables.sql_query(f"SELECT 'all' AS `key`, ROW(n) AS tick FROM {name}")
    return keyed_stream(tables, rows, TICK, name.replace("_", "-"))
