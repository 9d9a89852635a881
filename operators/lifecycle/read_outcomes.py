"""Results or outcomes, to the shards of their keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pyflink.common import Row
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.rows import to_rows
from schemas.micro_batch import decode_micro_batch
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.messages import encode


class ReadOutcomes(KeyedProcessFunction):
    """Micro-batches of `what`, under the key of the instance that read them. Holds no state.

    Main output: rows of DELIVERY. Side output: DEAD_LETTERS.
    """

    def __init__(self, what: Literal["results", "outcomes"], spec: JoinSpec, keys: tuple[str, ...]) -> None:
        self._code = code_digest()
        self._what, self._spec, self._keys = what, spec, keys

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        reader = self._spec.reader()
        self._read = reader.results if self._what == "results" else reader.outcomes

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        found = self._read(decode_micro_batch(value))
        yield from to_rows(found.dead)
        for shard, delivery in found.deliveries.items():
            yield Row(self._keys[shard], encode(delivery))
