"""Results or outcomes, to the instances of their keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pyflink.common import Row
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext

from operators.code_guard import check_code, code_digest
from operators.flink_internals import instance_of
from operators.key_groups import KeyGroups
from operators.rows import to_rows
from schemas.micro_batch import decode_micro_batch
from udfs.lifecycle.outcomes.join_spec import JoinSpec
from udfs.lifecycle.outcomes.messages import Delivery, encode


class ReadOutcomes(KeyedProcessFunction):
    """Micro-batches of `what`, and marks, under the key of the instance that read them. Holds no state.

    Main output: rows of DELIVERY; of a mark an empty one for each instance, so that each takes up its state.
    Side output: DEAD_LETTERS.
    """

    def __init__(self, what: Literal["results", "outcomes"], spec: JoinSpec, groups: KeyGroups) -> None:
        self._code = code_digest()
        self._what, self._spec, self._groups = what, spec, groups

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        _, parallelism = instance_of(context)
        self._keys = self._groups.keys_of_parts(parallelism)
        reader = self._spec.reader(len(self._groups.keys), parallelism)
        self._read = reader.results if self._what == "results" else reader.outcomes

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        if not value:
            yield from (Row(key, encode(Delivery({}))) for key in self._keys)
            return
        found = self._read(decode_micro_batch(value))
        yield from to_rows(found.dead)
        for part, delivery in found.deliveries.items():
            yield Row(self._keys[part], encode(delivery))
