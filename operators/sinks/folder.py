"""Outputs to folders, by Flink's own file sink; files appear at checkpoints."""

from __future__ import annotations

from typing import Any

from pyflink.datastream import DataStream
from pyflink.java_gateway import get_gateway

from operators.flink_internals import own_class
from operators.sinks.kafka import add_sink

_ROLL_MS, _LOOK_MS = 1000, 500


def add_folder_sink(outputs: DataStream, folder: str, name: str) -> None:
    """Write a stream of OUTPUT to files of one message a line in a folder (a URI), exactly once.

    Keys, headers and event time have no place in such a file beside what the line itself says.
    """
    add_sink(outputs, _sink(folder, b"\n", _rolling()), folder, name)


def add_model_folder_sink(outputs: DataStream, folder: str, name: str) -> None:
    """Write a stream of OUTPUT, of descriptors, to a folder that is a model stream: a file each, once."""
    java = get_gateway().jvm
    names = java.org.apache.flink.streaming.api.functions.sink.filesystem.OutputFileConfig.builder()
    one_each = _rolling().withMaxPartSize(java.org.apache.flink.configuration.MemorySize(1))
    files = names.withPartPrefix(name).withPartSuffix(".model").build()
    add_sink(outputs, _sink(folder, b"", one_each, files), folder, name)


def _rolling() -> Any:
    java = get_gateway().jvm
    sinks = java.org.apache.flink.streaming.api.functions.sink.filesystem
    return (
        sinks.rollingpolicies.DefaultRollingPolicy.builder()
        .withRolloverInterval(java.java.time.Duration.ofMillis(_ROLL_MS))
        .withInactivityInterval(java.java.time.Duration.ofMillis(_ROLL_MS))
    )


def _sink(folder: str, end: bytes, rolling: Any, files: Any = None) -> Any:
    java = get_gateway().jvm
    sinks = java.org.apache.flink.streaming.api.functions.sink.filesystem
    built = (
        java.org.apache.flink.connector.file.sink.FileSink.forRowFormat(
            java.org.apache.flink.core.fs.Path(folder), own_class("ToFiles")(end)
        )
        .withBucketAssigner(sinks.bucketassigners.BasePathBucketAssigner())
        .withRollingPolicy(rolling.build())
        .withBucketCheckInterval(_LOOK_MS)
    )
    return (built if files is None else built.withOutputFileConfig(files)).build()
