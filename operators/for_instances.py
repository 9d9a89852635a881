"""Rows once for every instance of what follows, under the key of the instance."""

from __future__ import annotations

from pyflink.common.typeinfo import RowTypeInfo
from pyflink.datastream import DataStream

from operators.flink_internals import own_class
from operators.key_groups import KeyGroups
from operators.sources.gathering import java_strings


def for_each_instance(
    rows: DataStream,
    row_type: RowTypeInfo,
    groups: KeyGroups,
    *,
    name: str,
    uid: str,
    parallelism: int | None = None,
) -> DataStream:
    """`rows`: a key, which is replaced, and a value. `parallelism`: of what follows, if not the job's.

    Broadcast state for keyed streams would be the obvious way: in PyFlink 2.3's thread mode it ends the whole
    JVM. So the broadcast ends in an instance of a small Java operator, which puts its own key before.
    """
    to_instance = own_class("ToInstance")(java_strings(groups.keys))
    copies = rows._j_data_stream.broadcast().map(to_instance)
    copies = copies.returns(row_type.get_java_type_info()).name(name).uid(uid)
    if parallelism is not None:
        copies = copies.setParallelism(parallelism)
    copies.setBufferTimeout(0)
    return DataStream(copies)
