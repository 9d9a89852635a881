"""A tick for every key, which is how a key comes to life whose records an operator reads itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common import Row
from pyflink.datastream import KeyedStream
from pyflink.datastream.functions import KeyedProcessFunction
from pyflink.table import StreamTableEnvironment

from operators.keyed_table import keyed_by_first
from operators.sources.tick_source import TICK, tick_source


class KeyTicks(KeyedProcessFunction):
    """A tick becomes one for each of `keys`."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(keys)

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        for key in self._keys:
            yield Row(key, Row(0))


def key_ticks(tables: StreamTableEnvironment, keys: Sequence[str]) -> KeyedStream:
    """Each key, once a second: a source that ended could not tell of the keys that an upgrade adds."""
    ticks = tick_source(tables, "key_ticks").process(KeyTicks(keys), TICK)
    ticks = ticks.name("tick keys").uid("tick-keys").set_parallelism(1)
    return keyed_by_first(ticks.set_buffer_timeout(0).disable_chaining(), TICK)
