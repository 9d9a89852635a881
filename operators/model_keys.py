"""The keys under which a descriptor must arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.common import Row
from pyflink.datastream import DataStream, KeyedStream
from pyflink.datastream.functions import FlatMapFunction

from operators.block_row import KEYED_DESCRIPTOR, descriptor_of
from operators.keyed_table import keyed_by_first
from operators.lane_keys import key_prefixes
from schemas.errors import DescriptorError
from udfs.models.descriptor import parse


class ModelKeys(FlatMapFunction):
    """One copy of a descriptor for each key; descriptors that cannot be read go to a key without a type.

    With lanes, a data type has the keys `LANE/DATA_TYPE`, so that every instance gets every model. Broadcast
    state for keyed streams would be the obvious way: in PyFlink 2.3's thread mode it ends the whole JVM.
    """

    def __init__(self, lanes: int) -> None:
        self._prefixes = key_prefixes(lanes)

    def flat_map(self, value: Any) -> Iterator[Any]:
        descriptor = descriptor_of(value)
        try:
            data_type, prefixes = parse(descriptor).data_type, self._prefixes
        except DescriptorError:
            data_type, prefixes = "", self._prefixes[:1]
        for prefix in prefixes:
            yield Row(prefix + data_type, Row(descriptor))


def keyed_models(models: DataStream, lanes: int = 0) -> KeyedStream:
    """Rows of DESCRIPTOR by data type, or by lane and data type."""
    copies = models.flat_map(ModelKeys(lanes), KEYED_DESCRIPTOR)
    copies = copies.name("key models").uid("key-models").set_buffer_timeout(0).disable_chaining()
    return keyed_by_first(copies, KEYED_DESCRIPTOR)
