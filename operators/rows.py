"""How micro-batches, descriptors and outputs look in Flink: the types, and what operators send where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream.output_tag import OutputTag

from schemas.output_batch import encode_output_batch
from schemas.results.records import DeadLetter, ModelEvent, encode
from udfs.serving.output import Output, Results

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
KEYED_BYTES = Types.ROW_NAMED(["key", "value"], [Types.STRING(), BYTES])
"""A key, and what a keyed function receives: a micro-batch, a descriptor, or messages of our own."""

OUTPUTS = BYTES
"""An output batch, see `schemas.output_batch`."""
DEAD_LETTERS = OutputTag("dead-letters", OUTPUTS)
MODEL_EVENTS = OutputTag("model-events", OUTPUTS)
MODEL_STATS = OutputTag("model-stats", OUTPUTS)


def to_rows(outputs: Iterable[Output]) -> Iterator[Any]:
    """Results as output batches for the main output; all else with its tag, neighbours of a kind together."""
    for kind, some in groupby(outputs, type):
        if kind is Results:
            for one in some:
                assert isinstance(one, Results)
                yield encode_output_batch(one.lines, one.event_times, one.keys, one.headers)
            continue
        tag = {DeadLetter: DEAD_LETTERS, ModelEvent: MODEL_EVENTS}.get(kind, MODEL_STATS)
        messages, keys = zip(*((encode(one), _key(one)) for one in some), strict=True)  # type: ignore[arg-type]
        yield tag, encode_output_batch(messages, [None], keys)


def _key(output: Any) -> bytes:
    """What a compacted topic keeps the newest of."""
    return str(output.data_type if isinstance(output, (DeadLetter, ModelEvent)) else output.key).encode()
