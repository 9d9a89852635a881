"""Side outputs as they leave an operator, and those of several operators as one."""

from __future__ import annotations

from collections.abc import Sequence

from pyflink.datastream import DataStream
from pyflink.datastream.output_tag import OutputTag


def side_output(streams: DataStream | Sequence[DataStream], tag: OutputTag) -> DataStream:
    """What operators send to `tag`.

    PyFlink's `get_side_output` puts a Python operator behind it that hands each row on: for batches that is
    as dear as the operator itself, and for each output it is one more task.
    """
    operators = [streams] if isinstance(streams, DataStream) else streams
    java = tag.get_java_output_tag()
    first, *others = (DataStream(one._j_data_stream.getSideOutput(java)) for one in operators)
    return first.union(*others) if others else first
