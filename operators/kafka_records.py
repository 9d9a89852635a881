"""Kafka records as blocks, made by plain SQL in the JVM: one Python call a block, not one a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyflink.table import StreamTableEnvironment, Table

from operators.kafka import KafkaConnection, Reading
from operators.table_options import control, literal, options
from schemas.block import ESCAPE, SEPARATOR


@dataclass(frozen=True, slots=True)
class RecordTopics:
    """`data_types`: topic -> data type of its records.

    Where `header` is set and a record has a header of that name, its text is the data type instead.
    """

    data_types: Mapping[str, str]
    header: str = ""

    def expression(self) -> str:
        cases = " ".join(f"WHEN {literal(t)} THEN {literal(d)}" for t, d in self.data_types.items())
        by_topic = (
            f"CASE topic {cases} END" if len(self.data_types) > 1 else literal(*self.data_types.values())
        )
        if not self.header:
            return f"CAST({by_topic} AS STRING)"
        return f"COALESCE(CAST(headers[{literal(self.header)}] AS STRING), {by_topic})"


def kafka_blocks(
    tables: StreamTableEnvironment,
    connection: KafkaConnection,
    topics: RecordTopics,
    reading: Reading,
    *,
    window_ms: int,
    lanes: int = 0,
) -> Table:
    """A table of `key` and `block` (see `operators.block_row.KEYED_BLOCK`).

    A block holds the records of one data type and topic that arrived within `window_ms`; with `lanes` also of
    one lane, the partition modulo `lanes`, and the key is `LANE/DATA_TYPE` instead of the data type.
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
        CREATE TEMPORARY TABLE records_in (
            payload STRING,
            k STRING,
            topic STRING METADATA VIRTUAL,
            `partition` INT METADATA VIRTUAL,
            `offset` BIGINT METADATA VIRTUAL,
            ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
            headers MAP<STRING, BYTES> METADATA VIRTUAL,
            {clock}
        ) WITH ({options(source)})""")
    lane = f"CAST(MOD(`partition`, {lanes}) AS STRING) || '/'" if lanes else "''"
    tables.execute_sql(f"""
        CREATE TEMPORARY VIEW records_typed AS
        SELECT {_escaped("COALESCE(payload, '')")} AS payload, {_escaped("k")} AS k,
            topic, {topics.expression()} AS data_type, {lane} AS lane, arrived,
            CAST(`partition` AS STRING) || ',' || CAST(`offset` AS STRING) || ',' || CAST(
                EXTRACT(EPOCH FROM ts) * 1000 + EXTRACT(MILLISECOND FROM ts) AS STRING) AS id,
            CASE WHEN CARDINALITY(headers) > 0 THEN JSON_STRING(headers) END AS headers
        FROM records_in""")
    separator, window = control(SEPARATOR), f"INTERVAL '{window_ms / 1000:.3f}' SECOND"

    def joined(column: str, between: str) -> str:
        return f"CAST(ARRAY_JOIN(ARRAY_AGG({column}), {between}) AS BYTES)"

    def if_any(column: str, missing: str) -> str:
        return (
            f"CASE WHEN COUNT({column}) = 0 THEN CAST(NULL AS BYTES) "
            f"ELSE {joined(f'COALESCE({column}, {missing})', separator)} END"
        )

    return tables.sql_query(f"""
        SELECT lane || data_type AS `key`, ROW(data_type, topic, n, payloads, ids, ks, hs) AS block FROM (
            SELECT data_type, topic, lane, CAST(COUNT(*) AS INT) AS n,
                {joined("payload", separator)} AS payloads,
                {joined("id", "','")} AS ids,
                {if_any("k", control(ESCAPE))} AS ks,
                {if_any("headers", "''")} AS hs
            FROM TABLE(TUMBLE(TABLE records_typed, DESCRIPTOR(arrived), {window}))
            GROUP BY window_start, window_end, data_type, topic, lane)""")


def _escaped(column: str) -> str:
    """LIKE '%c%' compares bytes; POSITION would count characters first, at ten times the cost."""
    marks = " OR ".join(f"{column} LIKE '%' || {control(mark)} || '%'" for mark in (SEPARATOR, ESCAPE))
    return f"CASE WHEN {marks} THEN {control(ESCAPE)} || TO_BASE64({column}) ELSE {column} END"
