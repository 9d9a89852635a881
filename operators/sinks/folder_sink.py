"""Outputs to folders of files with one JSON object a line; files appear at checkpoints."""

from __future__ import annotations

from pathlib import Path

from pyflink.table import StatementSet, StreamTableEnvironment

from operators.table_options import options


def add_folder_sink(
    tables: StreamTableEnvironment, statements: StatementSet, view: str, folder: Path
) -> None:
    """Write a view of `operators.sinks.result_lines` to a folder. Exactly once, by Flink's own file sink.

    Keys, headers and event time have no place in such a file beside what the line itself says.
    """
    sink = {
        "connector": "filesystem",
        "path": folder.resolve().as_uri(),
        "format": "raw",
        "sink.rolling-policy.rollover-interval": "1 s",
        "sink.rolling-policy.check-interval": "500 ms",
    }
    tables.execute_sql(f"CREATE TEMPORARY TABLE {view}_out (message BYTES) WITH ({options(sink)})")
    statements.add_insert_sql(f"INSERT INTO {view}_out SELECT message FROM {view}")
