"""How micro-batches, descriptors and outputs look in Flink: the types, and the only code that knows positions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from pyflink.common import Row
from pyflink.common.typeinfo import Types
from pyflink.datastream.output_tag import OutputTag

from schemas.micro_batch import MicroBatch, decode_micro_batch

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
KEYED_BYTES = Types.ROW_NAMED(["key", "value"], [Types.STRING(), BYTES])
KEYED_MICRO_BATCH = KEYED_BYTES
KEYED_DESCRIPTOR = KEYED_BYTES
OUTPUT = BYTES
DEAD_LETTERS = OutputTag("dead-letters", OUTPUT)
MODEL_EVENTS = OutputTag("model-events", OUTPUT)
MODEL_STATS = OutputTag("model-stats", OUTPUT)
