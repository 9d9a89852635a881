"""A table of a key and a row as a keyed stream, without a Python call for each row."""

from __future__ import annotations

from pyflink.common.typeinfo import RowTypeInfo, Types
from pyflink.datastream import KeyedStream
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment, Table


def keyed_stream(tables: StreamTableEnvironment, table: Table, row_type: RowTypeInfo) -> KeyedStream:
    """Key `table`, whose columns are a STRING key and a row, as `row_type` says.

    `DataStream.key_by` would send every block through Python once more to find its key. PyFlink's keyed
    operators take a stream of (key, value) rows keyed by the first column, which the table already is.
    """
    stream = tables.to_append_stream(table, row_type)
    key_type = Types.ROW([row_type.get_field_types()[0]])
    keyed = stream._j_data_stream.keyBy(get_gateway().jvm.KeyByKeySelector(), key_type.get_java_type_info())
    return KeyedStream(keyed, row_type.get_field_types()[1], stream)
