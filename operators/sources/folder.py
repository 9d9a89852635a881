"""Folders of files by Flink's own source: on any file system that Flink has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from operators.flink_internals import own_class
from operators.sources.kafka import from_source


@dataclass(frozen=True, slots=True)
class FolderReading:
    """`folder`: its URI. `poll_ms`: how often to look for new files; `bounded`: read what is there and end.

    A file is read once, when it appears: write it under a name that begins with a dot or an underscore, or
    elsewhere, and rename it when it is whole.
    """

    folder: str
    poll_ms: int = 50
    bounded: bool = False


def folder_records(
    env: StreamExecutionEnvironment,
    reading: FolderReading,
    name: str,
    *,
    whole_files: bool = False,
    parallelism: int | None = None,
) -> Any:
    """A Java stream of `ConsumerRecord`: a record a line, or with `whole_files` a record a file.

    A record's source is its file's path below the folder, its offset the number of its line, its time that of
    reading.
    """
    java = get_gateway().jvm
    paths = get_gateway().new_array(java.org.apache.flink.core.fs.Path, 1)
    paths[0] = java.org.apache.flink.core.fs.Path(reading.folder)
    source = java.org.apache.flink.connector.file.src.FileSource.forBulkFileFormat(
        own_class("FolderRecords")(reading.folder, whole_files), paths
    ).setSplitAssigner(own_class("InNameOrder")())
    if not reading.bounded:
        source = source.monitorContinuously(java.java.time.Duration.ofMillis(reading.poll_ms))
    return from_source(env, source.build(), name, parallelism)
