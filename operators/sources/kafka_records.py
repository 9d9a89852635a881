"""Kafka records as blocks, made by plain SQL in the JVM: one Python call a block, not one a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyflink.table import StreamTableEnvironment, Table

from operators.kafka import KafkaConnection, Reading
from operators.table_options import control, literal, options
from schemas.block import FRAME, PARTITIONS, SEPARATOR


def _holds(column: str, mark: bytes) -> str:
    """LIKE '%c%' compares bytes; POSITION would count characters first, at ten times the cost."""
    return f"{column} LIKE '%' || {control(mark)} || '%'"


_PAYLOAD, _MARK = "COALESCE(payload, '')", control(FRAME)
_MIXED, _PLAIN_KEY = _holds(_PAYLOAD, SEPARATOR), f"NOT ({_holds('k', SEPARATOR)} OR {_holds('k', FRAME)})"
# A record as `schemas.block` wants it. Most are their payload: the first branch decides that.
_RECORD = f"""
    CASE WHEN k IS NULL AND COALESCE(CARDINALITY(headers), 0) = 0 AND NOT ({_MIXED})
        AND NOT ({_PAYLOAD} LIKE {_MARK} || '%') THEN {_PAYLOAD}
    ELSE {_MARK} || CASE WHEN {_MIXED} THEN 'p' ELSE '' END
        || CASE WHEN k IS NULL THEN '' WHEN {_PLAIN_KEY} THEN 'k' ELSE 'K' END
        || {_MARK} || CASE WHEN k IS NULL THEN '' WHEN {_PLAIN_KEY} THEN k ELSE TO_BASE64(k) END
        || {_MARK} || CASE WHEN CARDINALITY(headers) > 0 THEN JSON_STRING(headers) ELSE '' END
        || {_MARK} || CASE WHEN {_MIXED} THEN TO_BASE64({_PAYLOAD}) ELSE {_PAYLOAD} END
    END"""


@dataclass(frozen=True, slots=True)
class RecordTopics:
    """`data_types`: topic -> data type of its records.

    Where `header` is set and a record has a header of that name, its text is the data type instead.
    """

    data_types: Mapping[str, str]
    header: str = ""

    def data_type(self) -> str:
        """The data type of a record, in SQL."""
        cases = " ".join(f"WHEN {literal(t)} THEN {literal(d)}" for t, d in self.data_types.items())
        by_topic = (
            f"CASE topic {cases} END" if len(self.data_types) > 1 else literal(*self.data_types.values())
        )
        if not self.header:
            return f"CAST({by_topic} AS STRING)"
        return f"COALESCE(CAST(headers[{literal(self.header)}] AS STRING), {by_topic})"

    def source(self) -> str:
        """The topic of a record, in SQL: a constant costs nothing in the window."""
        return "topic" if len(self.data_types) > 1 else f"CAST({literal(*self.data_types)} AS STRING)"


def kafka_blocks(
    tables: StreamTableEnvironment,
    connection: KafkaConnection,
    topics: RecordTopics,
    reading: Reading,
    *,
    window_ms: int,
    lanes: int = 0,
    name: str = "records",
) -> Table:
    """A table of `key` and `block` (see `operators.block_row.KEYED_BLOCK`).

    A block holds the records of one data type and topic that arrived within `window_ms`; with `lanes` also of
    one lane, the partition modulo `lanes`, and the key is `LANE/DATA_TYPE` instead of the data type. `name`:
    of the tables that are made, where a job reads more than once.
    """
    source = connection.options() | reading.options()
    source |= {"topic": ";".join(topics.data_types), "key.format": "raw", "key.fields": "k"}
    # Strings in UTF-8 are never decoded on this path, so that any bytes come through as they are.
    source |= {"value.format": "raw", "value.fields-include": "EXCEPT_KEY"}
    # A processing-time window never fires at the end of a finite input and the last block would be
    # lost. There, windows are in event time, which is the time of arrival, and the end closes them. The
    # watermark lags so that a clock set back does not make records late.
    clock = "arrived AS PROCTIME()"
    if reading.bounded:
        clock = """arrived AS CAST(CURRENT_TIMESTAMP AS TIMESTAMP_LTZ(3)),
            WATERMARK FOR arrived AS arrived - INTERVAL '2' SECOND"""
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE {name}_in (
            payload STRING,
            k STRING,
            topic STRING METADATA VIRTUAL,
            `partition` INT METADATA VIRTUAL,
            `offset` BIGINT METADATA VIRTUAL,
            ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
            headers MAP<STRING, BYTES> METADATA VIRTUAL,
            {clock}
        ) WITH ({options(source)})""")
    tables.execute_sql(f"""
        CREATE TEMPORARY VIEW {name}_typed AS
        SELECT {_RECORD} AS record, `offset` * {PARTITIONS} + `partition` AS id,
            EXTRACT(EPOCH FROM ts) * 1000 + EXTRACT(MILLISECOND FROM ts) AS event_time,
            {topics.source()} AS topic, {topics.data_type()} AS data_type,
            {f"MOD(`partition`, {lanes})" if lanes else "0"} AS lane, arrived
        FROM {name}_in""")
    window = f"INTERVAL '{window_ms / 1000:.3f}' SECOND"
    key = "CAST(lane AS STRING) || '/' || data_type" if lanes else "data_type"
    # Each aggregate costs a linked list of the block's records. An array of numbers cast to a string at the
    # end costs a third of a string made of each record's.
    return tables.sql_query(f"""
        SELECT {key} AS `key`, ROW(data_type, topic, n, records, ids, event_times) AS block FROM (
            SELECT data_type, topic, lane, CAST(COUNT(*) AS INT) AS n,
                CAST(ARRAY_JOIN(ARRAY_AGG(record), {control(SEPARATOR)}) AS BYTES) AS records,
                CAST(CAST(ARRAY_AGG(id) AS STRING) AS BYTES) AS ids,
                CAST(CAST(ARRAY_AGG(event_time) AS STRING) AS BYTES) AS event_times
            FROM TABLE(TUMBLE(TABLE {name}_typed, DESCRIPTOR(arrived), {window}))
            GROUP BY window_start, window_end, data_type, topic, lane)""")
