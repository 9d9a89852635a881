"""Rows of a key and a value as a keyed stream, without a Python call for each row."""

from __future__ import annotations

from typing import Any

from pyflink.common.typeinfo import RowTypeInfo, Types
from pyflink.datastream import DataStream, KeyedStream
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment, Table


def keyed_stream(
    tables: StreamTableEnvironment, table: Table, row_type: RowTypeInfo, uid: str
) -> KeyedStream:
    """Key `table`, whose columns are a STRING key and a row, as `row_type` says."""
    return keyed_by_first(stream_of(tables, table, row_type, uid), row_type)


def stream_of(tables: StreamTableEnvironment, table: Table, row_type: RowTypeInfo, uid: str) -> DataStream:
    """The rows of `table`; the step between the two worlds gets `uid`, which PyFlink offers no way to set."""
    stream = tables.to_append_stream(table, row_type)
    stream._j_data_stream.getTransformation().setUid(uid)
    return stream


def keyed_by_first(stream: DataStream, row_type: RowTypeInfo) -> KeyedStream:
    """Key a stream of (key, value) rows by the first column; functions on it receive the value.

    `DataStream.key_by` would send every block through Python once more to find its key. PyFlink's keyed
    operators take exactly this shape, so the step can be left out.
    """
    types = row_type.get_field_types()
    selector = get_gateway().jvm.KeyByKeySelector()
    keyed = stream._j_data_stream.keyBy(selector, Types.ROW([types[0]]).get_java_type_info())
    return KeyedStream(keyed, types[1], stream)


def current_key(ctx: Any) -> str:
    """The key that a function on such a stream is called for."""
    key = ctx.get_current_key()
    return str(key[0] if isinstance(key, (tuple, list)) else key)
