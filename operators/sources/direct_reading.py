"""Operators that read their records themselves: a block comes from the broker without crossing the JVM."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pyflink.common.typeinfo import Types
from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import Function, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from operators.keyed_table import current_key
from operators.lane_keys import lane_and_type
from schemas.block import Block
from schemas.errors import SourceError
from udfs.io.partition_reader import PartitionReader, TopicReading

_NEVER = 2**63 - 1  # a lane may have no partition, or none yet
# How long a turn of all keys may go on: checkpoints and models wait meanwhile. In process mode each turn
# costs some milliseconds of round trips, which more records share.
_TURN_S = {"thread": 0.05, "process": 0.2}


@dataclass(frozen=True, slots=True)
class DirectSpec:
    """Every `window_ms` a block of at most `max_block` records, or with more there as many as a turn takes.

    `tick_ms`: how often the operator has something else to do, in which new partitions are looked for too.
    """

    reading: TopicReading
    window_ms: int
    max_block: int
    tick_ms: int
    mode: Literal["thread", "process"]


class DirectReading(Function):
    """To be put before an operator of blocks: ticks replace its blocks, and are given to `ticked`.

    The input is keyed by data type, or with `reading.lanes` by `LANE/DATA_TYPE`; each key reads its own
    partitions. How far it is, is keyed state, written in the same turn as what was made of those records
    goes out: a checkpoint has either both or none of them. It says of how many lanes it is, since a partition
    whose lane is another one would be read twice, or from its beginning.
    """

    def __init__(self, spec: Any, direct: DirectSpec) -> None:
        """`spec`: of the operator that this is before."""
        super().__init__(spec)
        self.direct = direct

    def prepared(self, key: str, ctx: Any) -> Iterable[Any]:
        """Before a turn of the key: its timers and state, and rows that come of those."""
        raise NotImplementedError

    def rows_of(self, key: str, block: Block) -> Iterator[Any]:
        raise NotImplementedError

    def kept(self, key: str) -> None:
        """After a turn: what changed goes into the key's state."""
        raise NotImplementedError

    def open(self, context: RuntimeContext) -> None:
        self._readers: dict[str, PartitionReader] = {}
        super().open(context)
        self._positions = context.get_state(ValueStateDescriptor("positions", Types.PICKLED_BYTE_ARRAY()))
        self._due: dict[str, int] = {}

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        super().close()

    def ticked(self, ctx: Any) -> Iterator[Any]:
        key = current_key(ctx)
        if key not in self._due:  # afterwards timers do it
            yield from self._turn(key, ctx)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        key = current_key(ctx)
        reads = ctx.time_domain() == TimeDomain.PROCESSING_TIME
        if reads and timestamp >= self._due.get(key, 0):
            yield from self._turn(key, ctx)
        if not reads or timestamp % self.direct.tick_ms == 0:
            yield from super().on_timer(timestamp, ctx)
            yield from self._look_after(key, ctx)

    def _turn(self, key: str, ctx: Any) -> Iterator[Any]:
        yield from self.prepared(key, ctx)
        reader = self._readers.get(key) or self._open(key)
        end = time.monotonic() + _TURN_S[self.direct.mode] / len(self._readers)
        if not reader.positions:
            self._due[key] = _NEVER
            return
        count, more = 0, True
        while more:
            blocks = reader.read(self.direct.max_block)
            for block in blocks:
                yield from self.rows_of(key, block)
            came = sum(map(len, blocks))
            count += came
            # a block that is not full was all there was: what came meanwhile is the next window's
            more = came >= self.direct.max_block
            if time.monotonic() >= end:
                break
        if count:
            self._keep_positions(reader)
            self.kept(key)
        timers, window_ms = ctx.timer_service(), self.direct.window_ms
        now = timers.current_processing_time()
        self._due[key] = now + 1 if more else (now // window_ms + 1) * window_ms
        timers.register_processing_time_timer(self._due[key])

    def _look_after(self, key: str, ctx: Any) -> Iterator[Any]:
        reader = self._readers.get(key)
        if reader is None:
            return
        reader.discover()
        reader.commit()
        if reader.positions and self._due[key] == _NEVER:
            yield from self._turn(key, ctx)

    def _open(self, key: str) -> PartitionReader:
        reading = self.direct.reading
        lane, data_type = lane_and_type(key, reading.lanes)
        kept = self._positions.value()
        if kept is not None and "lanes" not in kept:  # the first form of it: positions alone
            kept = {"lanes": reading.lanes, "positions": kept}
        if kept is not None and (before := kept["lanes"]) != reading.lanes:
            raise SourceError(
                f"the state says how far {before} lanes are, but {reading.lanes} are set now: their number "
                "is fixed for the life of the state"
            )
        known = None if kept is None else kept["positions"]
        reader = self._readers[key] = PartitionReader(reading, data_type, lane, known)
        if known is None:  # `latest` means now, and not after the next failure
            self._keep_positions(reader)
        return reader

    def _keep_positions(self, reader: PartitionReader) -> None:
        self._positions.update({"lanes": self.direct.reading.lanes, "positions": reader.positions})
