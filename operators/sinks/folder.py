"""Outputs to folders of files with one message a line; files appear at checkpoints."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.java_gateway import get_gateway

from operators.flink_internals import own_class
from operators.sinks.kafka import add_sink

_ROLL_MS, _LOOK_MS = 1000, 500


def add_folder_sink(outputs: DataStream, folder: str, name: str) -> None:
    """Write a stream of OUTPUT to a folder (a URI), exactly once, by Flink's own file sink.

    Keys, headers and event time have no place in such a file beside what the line itself says.
    """
    java = get_gateway().jvm
    sinks = java.org.apache.flink.streaming.api.functions.sink.filesystem
    rolling = (
        sinks.rollingpolicies.DefaultRollingPolicy.builder()
        .withRolloverInterval(java.java.time.Duration.ofMillis(_ROLL_MS))
        .withInactivityInterval(java.java.time.Duration.ofMillis(_ROLL_MS))
        .build()
    )
    sink = (
        java.org.apache.flink.connector.file.sink.FileSink.forRowFormat(
            java.org.apache.flink.core.fs.Path(folder), own_class("ToLines")()
        )
        .withBucketAssigner(sinks.bucketassigners.BasePathBucketAssigner())
        .withRollingPolicy(rolling)
        .withBucketCheckInterval(_LOOK_MS)
        .build()
    )
    add_sink(outputs, sink, folder, name)
