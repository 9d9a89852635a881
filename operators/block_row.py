"""How blocks, descriptors and results look in Flink: the types, and the only code that knows positions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyflink.common import Row
from pyflink.common.typeinfo import Types
from pyflink.datastream.output_tag import OutputTag

from schemas.block import Block, PackedBlock, unpack
from schemas.results.records import DeadLetter, ModelEvent, encode
from udfs.serving.output import Emission, ResultRun

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())

BLOCK_COLUMNS = ("data_type", "source", "count", "records", "ids", "event_times")
BLOCK = Types.ROW_NAMED(
    list(BLOCK_COLUMNS), [Types.STRING(), Types.STRING(), Types.INT(), BYTES, BYTES, BYTES]
)
KEYED_BLOCK = Types.ROW_NAMED(["key", "block"], [Types.STRING(), BLOCK])

DESCRIPTOR = Types.ROW_NAMED(["descriptor"], [BYTES])
KEYED_DESCRIPTOR = Types.ROW_NAMED(["key", "descriptor"], [Types.STRING(), DESCRIPTOR])

RESULTS = Types.ROW_NAMED(
    ["lines", "marks", "event_time", "key", "headers"],
    [Types.OBJECT_ARRAY(BYTES), BYTES, Types.LONG(), BYTES, Types.MAP(Types.STRING(), BYTES)],
)
_SIDE = Types.ROW_NAMED(["key", "message"], [BYTES, BYTES])
DEAD_LETTERS = OutputTag("dead-letters", _SIDE)
MODEL_EVENTS = OutputTag("model-events", _SIDE)
MODEL_STATS = OutputTag("model-stats", _SIDE)


def block_of(row: Any) -> Block:
    """The block in a row of type BLOCK."""
    return unpack(PackedBlock(*row))


def descriptor_of(row: Any) -> bytes:
    """The descriptor in a row of type DESCRIPTOR."""
    return bytes(row[0])


def row_of(key: str, packed: PackedBlock) -> Row:
    """A row of type KEYED_BLOCK."""
    return Row(
        key,
        Row(
            packed.data_type,
            packed.source,
            packed.count,
            packed.records,
            packed.ids,
            packed.event_times,
        ),
    )


def to_rows(emissions: Iterable[Emission]) -> Iterator[Any]:
    """Results as rows of type RESULTS for the main output, all else with its tag."""
    for emission in emissions:
        if isinstance(emission, ResultRun):
            yield Row(emission.lines, emission.marks, emission.event_time, emission.key, emission.headers)
        elif isinstance(emission, DeadLetter):
            yield DEAD_LETTERS, Row(emission.data_type.encode(), encode(emission))
        elif isinstance(emission, ModelEvent):
            yield MODEL_EVENTS, Row(emission.data_type.encode(), encode(emission))
        else:
            yield MODEL_STATS, Row(emission.key.encode(), encode(emission))
