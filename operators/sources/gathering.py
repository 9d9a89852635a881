"""How Flink's sources become streams of micro-batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyflink.datastream import DataStream, KeyedStream
from pyflink.java_gateway import get_gateway

from operators.flink_internals import keyed_by_first, own_class
from operators.key_groups import KeyGroups
from operators.rows import KEYED_BYTES
from udfs.io.gathering import Gathering

_BEAT_MS = 1000


@dataclass(frozen=True, slots=True)
class DataTypes:
    """`by_source`: topic -> data type; a source that is not in it (a file) has the name of its first folder.

    Where `header` is set and a record has a header of that name, its text is the data type instead.
    """

    by_source: Mapping[str, str]
    header: str = ""


def micro_batches(
    records: Any,
    types: DataTypes,
    gathering: Gathering,
    name: str,
    keys: KeyGroups | None,
    *,
    marks: bool = False,
    beats: bool = False,
) -> KeyedStream:
    """Micro-batches of a Java stream of `ConsumerRecord`, keyed for what follows.

    With `keys` a micro-batch stays on the instance that read it; without, its key is the data type. With
    `marks`, which want keys, an empty byte string comes before each checkpoint; with `beats`, which want
    them too, about each second what has passed where records are read: see `beat_ms`. `name`: of what is
    read; the uids are made from it.

    A savepoint of the other `python.execution-mode`, or of a job without `keys` where this one has them,
    fails the job: what Python kept in it would silently be missing.
    """
    options = records.getExecutionEnvironment().getConfiguration().toMap()
    operator = own_class("MicroBatcher")(
        options.get("python.execution-mode"),
        java_map(types.by_source),
        types.header or None,
        None if keys is None else java_strings(keys.keys),
        gathering.max_records,
        gathering.max_bytes,
        gathering.min_ms,
        gathering.max_ms,
        gathering.sample,
        marks,
        _BEAT_MS if beats else 0,
    )
    gathered = records.transform(f"gather {name}", KEYED_BYTES.get_java_type_info(), operator)
    gathered = gathered.uid(f"gather-{name}").setParallelism(records.getParallelism())
    # A micro-batch is a batch already: nothing is gained by gathering several for a while.
    gathered.setBufferTimeout(0)
    return keyed_by_first(DataStream(gathered), KEYED_BYTES)


def java_strings(values: Any) -> Any:
    gateway = get_gateway()
    array = gateway.new_array(gateway.jvm.java.lang.String, len(values))
    for at, value in enumerate(values):
        array[at] = value
    return array


def java_map(values: Mapping[str, str]) -> Any:
    made = get_gateway().jvm.java.util.HashMap()
    for name, value in values.items():
        made.put(name, value)
    return made
