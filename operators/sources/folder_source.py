"""Watched folders as streams, for a start without a broker: records as blocks, descriptors as bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyflink.common import Row
from pyflink.common.typeinfo import Types
from pyflink.datastream import DataStream, TimerService
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor
from pyflink.table import StreamTableEnvironment

from operators.block_row import DESCRIPTOR, KEYED_BLOCK, row_of
from operators.sources.tick_source import tick_source
from schemas.block import pack
from udfs.io.folder_reader import blocks, new_files


@dataclass(frozen=True, slots=True)
class FolderReading:
    """`per_second`: how often to look; `bounded`: read what is there once and end."""

    folder: Path
    per_second: int = 20
    bounded: bool = False


class _Positions(MutableMapping[str, tuple[int, int]]):
    """Keyed map state as the mapping that the reader wants."""

    def __init__(self, state: MapState) -> None:
        self._state = state

    def __getitem__(self, name: str) -> tuple[int, int]:
        found = self._state.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __setitem__(self, name: str, value: tuple[int, int]) -> None:
        self._state.put(name, value)

    def __delitem__(self, name: str) -> None:
        self._state.remove(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.keys())

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _FolderFunction(KeyedProcessFunction):
    """Looks into the folder at every tick; what has been read is keyed state.

    Flink's tick source emits all rows of a second at its start, so that the looks between are timers.
    """

    def __init__(self, reading: FolderReading) -> None:
        self._reading = reading

    def open(self, context: RuntimeContext) -> None:
        descriptor = MapStateDescriptor("positions", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        self._positions = _Positions(context.get_map_state(descriptor))

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        yield from self._look()
        self._look_again(ctx.timer_service())

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        yield from self._look()
        self._look_again(ctx.timer_service())

    def _look(self) -> Iterator[Any]:
        raise NotImplementedError

    def _look_again(self, timers: TimerService) -> None:
        if not self._reading.bounded:
            # Aligned: the next tick of the source, or one after a restart, sets the same timer again.
            every = max(1, 1000 // self._reading.per_second)
            timers.register_processing_time_timer((timers.current_processing_time() // every + 1) * every)


class ReadRecords(_FolderFunction):
    def __init__(self, reading: FolderReading, max_records: int, lanes: bool) -> None:
        super().__init__(reading)
        self._max_records = max_records
        self._prefix = "0/" if lanes else ""

    def _look(self) -> Iterator[Any]:
        found = blocks(
            self._reading.folder,
            self._positions,
            max_records=self._max_records,
            now=lambda: time.time_ns() // 1_000_000,
            at_end=self._reading.bounded,
        )
        for block in found:
            yield row_of(self._prefix + block.data_type, pack(block))


class ReadModels(_FolderFunction):
    def _look(self) -> Iterator[Row]:
        for descriptor in new_files(self._reading.folder, self._positions, ".model"):
            yield Row(descriptor)


def folder_blocks(
    tables: StreamTableEnvironment,
    reading: FolderReading,
    max_records: int,
    lanes: bool,
    name: str = "record",
) -> DataStream:
    """Rows of KEYED_BLOCK from `folder/DATA_TYPE/*`: one record a line. `name`: of what is read."""
    ticks = tick_source(tables, f"{name}_ticks", once=reading.bounded)
    read = ticks.process(ReadRecords(reading, max_records, lanes), KEYED_BLOCK)
    return read.name(f"read {name}s").uid(f"read-{name}s").set_parallelism(1).disable_chaining()


def folder_models(tables: StreamTableEnvironment, reading: FolderReading) -> DataStream:
    """Rows of DESCRIPTOR from `folder/*.model`, in the order of names."""
    ticks = tick_source(tables, "model_ticks", once=reading.bounded)
    read = ticks.process(ReadModels(reading), DESCRIPTOR)
    return read.name("read models").uid("read-models").set_parallelism(1).disable_chaining()
